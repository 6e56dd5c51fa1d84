"""What only a real S3 server can show: conditions, checksums, and a server killed while it is written to."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from operators.core.errors import StorageError
from operators.core.manifest import FileEntry, Made, StageCall
from operators.core.settings import StorageSettings
from operators.core.storage import initialise, open_store
from operators.core.storage.endpoint import open_endpoint
from tests.seaweed import BUCKET, Seaweed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture
def s3_settings(seaweed: list[Seaweed]) -> StorageSettings:
    """Three empty buckets, two of which acknowledge."""
    for server in seaweed:
        server.empty()
    return StorageSettings(endpoints=tuple(server.settings() for server in seaweed), acknowledge=2)


def test_a_conditional_put_with_a_checksum_creates_once(s3_settings: StorageSettings) -> None:
    """The server takes `If-None-Match` and SHA-256 together: the second put changes nothing."""
    endpoint = open_endpoint(s3_settings.endpoints[0])

    assert endpoint.put_if_absent("a/b", b"one")
    assert not endpoint.put_if_absent("a/b", b"two")
    assert endpoint.get("a/b") == b"one"


def test_the_server_refuses_bytes_that_do_not_match_their_checksum(seaweed: list[Seaweed]) -> None:
    """What was damaged on the way is not stored: our `verified` rests on this."""
    digest = base64.b64encode(hashlib.sha256(b"right").digest()).decode()

    with pytest.raises(OSError, match=r"(?i)checksum|digest|match"):
        seaweed[0].files().call_s3("put_object", Bucket=BUCKET, Key="x", Body=b"wrong", ChecksumSHA256=digest)


@pytest.mark.slow
def test_a_long_listing_is_whole(s3_settings: StorageSettings) -> None:
    """More keys than one page has are all listed."""
    endpoint = open_endpoint(s3_settings.endpoints[0])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: endpoint.put(f"k/{number:04d}", b"x"), range(1040)))

    assert len(endpoint.list("k/")) == 1040


def test_a_server_killed_during_writes_loses_nothing_acknowledged(
    s3_settings: StorageSettings, seaweed: list[Seaweed]
) -> None:
    """SIGKILL of a server while writes go on: no write fails, and all that was acknowledged is read after."""
    initialise(s3_settings)
    store = open_store(s3_settings)
    acknowledged: list[tuple[str, FileEntry]] = []
    killed = threading.Event()

    def write(number: int) -> None:
        call = StageCall(stage="ingest", revision=1, spec={"number": number})
        entry = store.put_bytes("x.bin", b"%d" % number * 50_000)
        store.once(call, lambda: Made(files=(entry,)))
        acknowledged.append((call.run_key, entry))

    def kill() -> None:
        while len(acknowledged) < 5:
            time.sleep(0.01)
        seaweed[2].kill()
        killed.set()

    killer = threading.Thread(target=kill)
    killer.start()
    number, after = 0, 0
    while after < 5:
        write(number)
        number += 1
        after += killed.is_set()
    killer.join()
    seaweed[2].start()
    seaweed_is_back(seaweed[2])

    reader = open_store(s3_settings)
    for run_key, entry in acknowledged:
        found = reader.find(run_key)
        assert found is not None
        assert reader.read(found.manifest.file("x.bin")) == reader.read(entry)
    # What the others wrote meanwhile is filled in as it is read; the killed one then serves it too.
    seaweed[1].kill()
    try:
        assert open_store(s3_settings).find(acknowledged[-1][0]) is not None
    finally:
        seaweed[1].start()
        seaweed_is_back(seaweed[1])


def seaweed_is_back(server: Seaweed, timeout_seconds: float = 60) -> None:
    """Return once a restarted server reads and writes its old bucket."""
    endpoint = open_endpoint(server.settings())
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            endpoint.put("ready", b"ready")
            return
        except StorageError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
