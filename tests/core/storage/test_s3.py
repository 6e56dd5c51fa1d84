"""What only a real S3 server can show: conditions, checksums, large files, TLS, and a server that is killed."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import logging
import os
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from operators.core.errors import StorageError
from operators.core.manifest import FileEntry, Made, StageCall, sha256_of_file
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import initialise, open_store
from operators.core.storage.bucket import S3Endpoint
from operators.core.storage.endpoint import EndpointAway, open_endpoint
from tests.faults.catalogue import LEDGER, Kind
from tests.faults.proxy import Proxy
from tests.seaweed import BUCKET, SECRET_KEY, Seaweed

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
    initialise(s3_settings, rounds=0)
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


@pytest.fixture
def endpoint(s3_settings: StorageSettings) -> S3Endpoint:
    """An empty bucket."""
    return S3Endpoint(s3_settings.endpoints[0])


def test_a_large_file_goes_in_parts_and_comes_in_ranges(
    endpoint: S3Endpoint, seaweed: list[Seaweed], tmp_path: Path
) -> None:
    """Three parts and five ranges: the same bytes and digest, and no upload is left open."""
    (tmp_path / "in").write_bytes(os.urandom((33 << 20) + 5))
    endpoint.put("a/b", tmp_path / "in")

    assert endpoint.digest("a/b") == sha256_of_file(tmp_path / "in")
    with (tmp_path / "out").open("wb") as target:
        assert endpoint.fetch("a/b", target) == sha256_of_file(tmp_path / "in")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()
    head = seaweed[0].files().call_s3("head_object", Bucket=BUCKET, Key="a/b")
    assert head["ETag"].endswith('-3"')
    assert not seaweed[0].files().call_s3("list_multipart_uploads", Bucket=BUCKET).get("Uploads")


@pytest.mark.parametrize("size", [0, 1, 8 << 20, (8 << 20) + 1])
def test_digests_of_all_sizes_are_those_of_the_bytes(endpoint: S3Endpoint, size: int) -> None:
    """Nothing, one byte, one range, and one byte more; an absent key has no digest."""
    endpoint.put(f"of/{size}", b"x" * size)

    assert endpoint.digest(f"of/{size}") == hashlib.sha256(b"x" * size).hexdigest()
    assert endpoint.digest("of/none") is None


MEMORY = """
import resource, sys
from pathlib import Path
from operators.core.settings import StorageSettings
from operators.core.storage.bucket import S3Endpoint

settings = StorageSettings.from_json(sys.argv[1])
endpoint, path = S3Endpoint(settings.endpoints[0]), Path(sys.argv[2])
endpoint.put("large", path)
print(endpoint.digest("large"), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(s3_settings: StorageSettings, tmp_path: Path) -> None:
    """1 GiB is put and hashed by a process that never holds 400 MiB."""
    with (tmp_path / "large").open("wb") as handle:
        for _ in range(64):
            handle.write(os.urandom(16 << 20))
    command = [sys.executable, "-c", MEMORY, s3_settings.to_json(), str(tmp_path / "large")]
    digest, mebibytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    assert digest == sha256_of_file(tmp_path / "large")
    assert int(mebibytes) < 400


def test_generations_are_listed_from_the_first_after(endpoint: S3Endpoint) -> None:
    """Names of one length: `after` and `limit` mean the same as on a sorted list of all keys."""
    keys = [f"log/x/{number:020d}/000000000001" for number in range(12)]
    for key in keys:
        endpoint.put(key, b"x")

    for start, limit in ((0, 1), (3, 2), (11, 1), (4, None)):
        listed = endpoint.list("log/x/", after=keys[start], limit=limit)
        assert [found.key for found in listed] == keys[start + 1 :][:limit]


def test_an_empty_value_is_no_value(endpoint: S3Endpoint) -> None:
    """What decides something has bytes: s3fs's own creation of an empty object would overwrite."""
    with pytest.raises(ValueError, match="empty"):
        endpoint.put_if_absent("a", b"")


def test_a_missing_ca_file_is_not_an_absent_key(s3_settings: StorageSettings) -> None:
    """The client's own `file not found` must never read as `no such key`."""
    settings = dataclasses.replace(
        s3_settings.endpoints[0], endpoint_url="https://127.0.0.1:9", ca_file="/nowhere/ca.pem"
    )
    endpoint = S3Endpoint(settings)

    with pytest.raises(EndpointAway, match="No such file"):
        endpoint.get("a")
    with pytest.raises(EndpointAway, match="No such file"):
        endpoint.size("a")


def test_no_secret_is_shown(s3_settings: StorageSettings, caplog: pytest.LogCaptureFixture) -> None:
    """Not by the most talkative logs of all libraries, not by what is printed of objects, not by errors."""
    caplog.set_level(logging.DEBUG)
    right = s3_settings.endpoints[0]
    wrong = dataclasses.replace(right, secret_key="another-very-secret-key")
    shown = []
    for settings in (right, wrong):
        endpoint = S3Endpoint(settings)
        shown += [repr(settings), repr(endpoint), repr(vars(endpoint)), repr(vars(endpoint._client))]
        endpoint.put_if_absent("a", b"x")
        try:
            endpoint.put("a", b"x")
            endpoint.get("a")
        except EndpointAway as error:
            shown += [str(error), repr(error), *traceback.format_exception(error)]
    shown += [record.getMessage() for record in caplog.records]

    assert "SignatureDoesNotMatch" in "".join(shown)
    for text in shown:
        assert SECRET_KEY not in text
        assert "another-very-secret-key" not in text


def test_a_password_in_an_address_is_refused_and_not_repeated(s3_settings: StorageSettings) -> None:
    """Messages name addresses: a secret must not be part of one."""
    settings = dataclasses.replace(s3_settings.endpoints[0], endpoint_url="http://user:hidden@127.0.0.1:9")

    with pytest.raises(ValueError, match="access_key") as caught:
        S3Endpoint(settings)
    assert "hidden" not in str(caught.value)


class Front:
    """TLS before a server, with certificates of an authority made for the test."""

    def __init__(self, server: Seaweed, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.authority = trustme.CA()
        self.proxies: list[Proxy] = []

    def settings(self, certificate: trustme.LeafCert, authority: trustme.CA) -> EndpointSettings:
        """Return the settings of the server behind this certificate, for one who trusts that authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)
        self.proxies.append(Proxy(self.server.url, context))
        file = self.folder / f"ca{len(self.proxies)}.pem"
        authority.cert_pem.write_to_path(str(file))
        return dataclasses.replace(
            self.server.settings(), endpoint_url=self.proxies[-1].url, ca_file=str(file), secret_key=SECRET_KEY
        )


@pytest.fixture
def front(s3_settings: StorageSettings, seaweed: list[Seaweed], tmp_path: Path) -> Iterator[Front]:
    """TLS before the first server."""
    made = Front(seaweed[0], tmp_path)
    yield made
    for proxy in made.proxies:
        proxy.stop()


def test_a_server_behind_tls_of_an_own_authority_works(front: Front, tmp_path: Path) -> None:
    """With its CA file every verb works, small and in parts."""
    endpoint = S3Endpoint(front.settings(front.authority.issue_cert("127.0.0.1"), front.authority))
    (tmp_path / "in").write_bytes(os.urandom((33 << 20) + 5))
    endpoint.put("large", tmp_path / "in")

    assert endpoint.put_if_absent("a", b"one")
    assert not endpoint.put_if_absent("a", b"two")
    assert endpoint.get("a") == b"one"
    assert endpoint.digest("large") == sha256_of_file(tmp_path / "in")
    assert [found.key for found in endpoint.list("")] == ["a", "large"]


@pytest.mark.parametrize("wrong", ["authority", "host", "expired"])
def test_a_wrong_certificate_is_refused(front: Front, wrong: str) -> None:
    """Another CA, another host's name, or a date gone by: nothing is sent, and the message says `certificate`."""
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    certificate = {
        "authority": lambda: trustme.CA().issue_cert("127.0.0.1"),
        "host": lambda: front.authority.issue_cert("store.example.org"),
        "expired": lambda: front.authority.issue_cert("127.0.0.1", not_before=past, not_after=past.replace(year=2002)),
    }[wrong]()
    endpoint = S3Endpoint(front.settings(certificate, front.authority))

    with pytest.raises(EndpointAway, match="certificate"):
        endpoint.put("a", b"x")
    assert not endpoint.put_if_absent("a", b"x")
    assert not front.proxies[0].requests
    LEDGER.note(Kind.WRONG_CERTIFICATE, "EndpointAway")


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
