"""Ceph's object gateway: a server that checks no SHA-256, and what the probe and the store make of that.

It decides races, so that it may be the primary. It stores damaged bytes like any others, whatever checksum comes with
them: what it was given is read back. It also ignores `If-None-Match` at the end of an upload in parts: no such request
is ever made.
"""

from __future__ import annotations

import dataclasses
import os
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
import trustme

from operators.core.errors import QuorumLost
from operators.core.manifest import Made, StageCall, sha256_hex, sha256_of_file
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Entry, Store, initialise, open_store
from operators.core.storage.bucket import S3Endpoint
from operators.core.storage.checks import Weight
from operators.core.storage.endpoint import EndpointAway
from operators.core.storage.objects import object_key
from operators.core.storage.probe import may_be_member, may_be_primary, probe, probe_all, refusals
from operators.core.storage.scrub import PARTS, scrub
from operators.core.storage.slots import put_once
from tests.ceph import PACKAGES, Ceph, missing_programs
from tests.conftest import NAMES
from tests.faults.messages import Message
from tests.faults.proxy import Proxy

pytestmark = [
    pytest.mark.ceph,
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(missing_programs()), reason=f"{', '.join(missing_programs())} missing: apt-get install {PACKAGES}"
    ),
]
LARGE_BYTES = (40 << 20) + 5
WRITERS, RACES = 8, 4


class Flipping(Proxy):
    """Flips one bit of each body on its way to the server whose key is meant."""

    meant: str | None = None
    """Searched for in keys; None for no harm."""
    flipped: int = 0

    async def forward(self, request: Message) -> Message:
        """Return the server's answer to what it was not sent."""
        if self.meant is not None and request.method == "PUT" and re.search(self.meant, request.target):
            self.flipped += 1
            request = request.with_body(bytes((request.body[0] ^ 1,)) + request.body[1:])
        return await super().forward(request)


Behind = Callable[[EndpointSettings, bool], tuple[EndpointSettings, Flipping]]
Opened = Callable[[StorageSettings], Store]


@pytest.fixture(scope="module")
def ceph() -> Iterator[Ceph]:
    """A cluster for all tests here, each with buckets of its own."""
    cluster = Ceph()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def endpoint(ceph: Ceph) -> S3Endpoint:
    """An empty bucket."""
    made = S3Endpoint(ceph.settings("site_a"))
    made.create_bucket()
    return made


@pytest.fixture
def ceph_settings(ceph: Ceph) -> StorageSettings:
    """Three buckets of one gateway, which are yet to be made; two of them acknowledge."""
    return StorageSettings(endpoints=tuple(ceph.settings(name) for name in NAMES), acknowledge=2)


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens a store as another process does; all are closed in the end."""
    stores: list[Store] = []

    def open_another(settings: StorageSettings) -> Store:
        stores.append(open_store(settings))
        return stores[-1]

    yield open_another
    for store in stores:
        store.close()


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    """Puts a proxy before an endpoint's server, with TLS or without."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    proxies: list[Flipping] = []

    def put_before(settings: EndpointSettings, with_tls: bool) -> tuple[EndpointSettings, Flipping]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        assert settings.endpoint_url is not None
        proxies.append(Flipping(settings.endpoint_url, context if with_tls else None))
        ca_file = str(tmp_path / "ca.pem") if with_tls else None
        return dataclasses.replace(settings, endpoint_url=proxies[-1].url, ca_file=ca_file), proxies[-1]

    yield put_before
    for proxy in proxies:
        proxy.stop()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that goes in three parts."""
    path = tmp_path_factory.mktemp("large") / "file"
    path.write_bytes(os.urandom(LARGE_BYTES))
    return path


def test_the_probe_notices_what_the_gateway_lacks_and_what_it_has(endpoint: S3Endpoint) -> None:
    """A wrong checksum is stored and not vouched for: a note, and the only one. All else is fine, so it may decide."""
    report = probe(endpoint, rounds=10)

    assert report.against(Weight.NOTE) == (
        "checksums: not checked by the server: every write is read back, which doubles the traffic",
    )
    assert [item.check for item in report.findings if item.weight is Weight.FINE] == [
        "keys", "put_if_absent", "read after write", "clock", "large objects",
    ]  # fmt: skip
    assert "one winner in each of 10 races" in "; ".join(report.against(Weight.FINE))
    assert may_be_member(report)
    assert may_be_primary(report)
    assert report.traits["versioning"] == report.traits["object_lock"] == "off"
    assert [found.key for found in endpoint.list("")] == ["probe.json"]


def test_a_store_is_made_of_three_buckets_that_all_decide(ceph_settings: StorageSettings) -> None:
    """`nightshift init` probes each and trusts them; a later probe has nothing against any."""
    record = initialise(ceph_settings, rounds=2)
    reports, primary = probe_all(ceph_settings, rounds=2)

    assert record.deciders == NAMES
    assert primary == NAMES[0]
    assert refusals(reports, primary) == []


def test_a_put_is_read_back_because_the_gateway_does_not_vouch(ceph: Ceph, behind: Behind, large: Path) -> None:
    """Small ones by a GET, those in parts range by range; no upload is ended under a condition, which it ignores."""
    settings, proxy = behind(ceph.settings("site_a"), False)
    endpoint = S3Endpoint(settings)
    endpoint.create_bucket()
    proxy.schedule()
    endpoint.put("small", b"x")
    small = [request.method for request in proxy.requests]
    endpoint.put("large", large)
    ended = [request for request in proxy.requests if request.method == "POST" and "uploadId=" in request.target]

    assert small == ["PUT", "GET"]
    assert sum(request.header("Range") is not None for request in proxy.requests) == -(-LARGE_BYTES // (8 << 20))
    assert [request.header("If-None-Match") for request in ended] == [None]


@pytest.mark.parametrize("what", ["small", "large"])
@pytest.mark.parametrize("with_tls", [False, True], ids=["http", "tls"])
def test_a_byte_changed_on_the_way_is_refused(
    ceph: Ceph, behind: Behind, large: Path, what: str, with_tls: bool
) -> None:
    """The gateway stores what came and says that all is well; the put does not."""
    settings, proxy = behind(ceph.settings("site_a"), with_tls)
    endpoint = S3Endpoint(settings)
    endpoint.create_bucket()
    data: bytes | Path = large if what == "large" else b"right"
    right = sha256_of_file(large) if what == "large" else sha256_hex(b"right")
    proxy.meant = "^key"

    with pytest.raises(EndpointAway, match="does not read back as it was written"):
        endpoint.put("key", data)
    assert proxy.flipped
    assert endpoint.digest("key") not in (None, right)
    proxy.meant = None
    endpoint.put("key", data)
    assert endpoint.digest("key") == right


def test_a_damaged_copy_is_never_acknowledged(ceph_settings: StorageSettings, behind: Behind, opened: Opened) -> None:
    """The primary stores every file and commit wrong: the two others acknowledge, reads are right, a scrub mends it."""
    first, proxy = behind(ceph_settings.endpoints[0], True)
    settings = dataclasses.replace(ceph_settings, endpoints=(first, *ceph_settings.endpoints[1:]))
    initialise(settings, rounds=0)
    writer, reader = opened(settings), opened(settings)
    call = StageCall(stage="ingest", revision=1, spec={"day": "one"})
    proxy.meant = r"/(obj|run)/"
    result = writer.once(call, lambda: Made(files=(writer.put_bytes("x.bin", b"content" * 1000),)))
    proxy.meant = None
    found = reader.find(call.run_key)

    assert proxy.flipped == 2
    assert found is not None and found.digest == result.digest
    assert reader.read(found.manifest.file("x.bin")) == b"content" * 1000
    mended = scrub(reader.membership, parts=range(PARTS))
    assert (mended.flaws["damaged"], mended.repaired, mended.is_clean) == (2, 2, True)
    assert not scrub(reader.membership, parts=range(PARTS)).flaws


def test_two_damaged_copies_are_no_quorum(ceph_settings: StorageSettings, behind: Behind, opened: Opened) -> None:
    """One good copy of three is not what was promised: the put fails, and says who holds the file."""
    both = [behind(item, True) for item in ceph_settings.endpoints[:2]]
    settings = dataclasses.replace(ceph_settings, endpoints=(both[0][0], both[1][0], ceph_settings.endpoints[2]))
    initialise(settings, rounds=0)
    store = opened(settings)
    for _, proxy in both:
        proxy.meant = r"/obj/"

    with pytest.raises(QuorumLost, match=r"verified on \['site_c'\]"):
        store.put_bytes("x.bin", b"content")
    assert all(proxy.flipped for _, proxy in both)


def test_files_come_back_bit_for_bit(
    ceph_settings: StorageSettings, opened: Opened, large: Path, tmp_path: Path
) -> None:
    """Nothing, a few bytes, a MiB and one more, and what goes in parts: on all three, read by another process."""
    initialise(ceph_settings, rounds=0)
    writer, reader = opened(ceph_settings), opened(ceph_settings)
    contents = [Random(size).randbytes(size) for size in (0, 1, 5000, (1 << 20) + 1)]
    entries = [writer.put_bytes(f"{len(content)}.bin", content) for content in contents]
    whole = writer.put_file("large.bin", large)
    reader.fetch(whole, tmp_path / "out")

    assert [reader.read(entry) for entry in entries] == contents
    assert (tmp_path / "out").read_bytes() == large.read_bytes()
    assert [reader.copies(entry) for entry in (*entries, whole)] == [3] * 5


def test_a_race_of_eight_writers_has_one_winner(ceph_settings: StorageSettings, opened: Opened) -> None:
    """Each with clients of its own: all are told the same value, one of theirs, and it stays."""
    initialise(ceph_settings, rounds=0)
    stores = [opened(ceph_settings) for _ in range(WRITERS)]
    start = threading.Barrier(WRITERS)

    def write(writer: int) -> list[bytes]:
        told = []
        for race in range(RACES):
            start.wait(60)
            told.append(put_once(stores[writer].membership, slot(race), b"writer %d" % writer))
        return told

    with ThreadPoolExecutor(WRITERS) as pool:
        told = list(pool.map(write, range(WRITERS)))
    late = [put_once(stores[0].membership, slot(race), b"one who comes late") for race in range(RACES)]

    assert told == [late] * WRITERS
    assert set(late) <= {b"writer %d" % writer for writer in range(WRITERS)}


def test_a_stream_grows_and_is_read_in_order(ceph_settings: StorageSettings, opened: Opened) -> None:
    """Six entries, each after the one before; another process finds the last of them."""
    initialise(ceph_settings, rounds=0)
    writer, reader = opened(ceph_settings).stream("release-x"), opened(ceph_settings).stream("release-x")
    entries: list[Entry] = []
    for number in range(6):
        entries.append(writer.append(sha256_hex(b"%d" % number), entries[-1] if entries else None))

    assert reader.entries() == entries
    assert reader.head() == entries[-1]


def test_a_scrub_is_clean_and_mends_what_was_overwritten(
    ceph_settings: StorageSettings, opened: Opened, large: Path
) -> None:
    """No false alarm; then one copy of the same size and another that was cut, both behind the store's back."""
    initialise(ceph_settings, rounds=0)
    store = opened(ceph_settings)
    small, whole = store.put_bytes("x.bin", b"content"), store.put_file("large.bin", large)
    members = store.membership
    clean = scrub(members, parts=range(PARTS))
    for name, entry, data in (("site_b", small, b"CONTENT"), ("site_c", whole, b"cut")):
        line = store.record.line(name)
        members.endpoints[name].put(f"{line.incarnation}/{object_key('obj', entry.stored_sha256)}", data)
    mended = scrub(members, parts=range(PARTS))

    assert (clean.keys, clean.read_copies, clean.flaws.total(), clean.is_clean) == (2, 6, 0, True)
    assert (mended.flaws["damaged"], mended.repaired, mended.is_clean) == (2, 2, True)
    assert not scrub(members, parts=range(PARTS)).flaws
    assert store.read(small) == b"content"


def test_listings_are_whole_and_in_order(endpoint: S3Endpoint) -> None:
    """More keys than a page has, right after they were written, over all shards of the bucket's index."""
    keys = [f"log/x/{number:020d}/000000000001" for number in range(1040)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: endpoint.put_if_absent(key, b"x"), keys))

    assert [found.key for found in endpoint.list("log/x/")] == keys
    for start, limit in ((0, 1), (3, 2), (1038, 5), (7, None)):
        listed = endpoint.list("log/x/", after=keys[start], limit=limit)
        assert [found.key for found in listed] == keys[start + 1 :][:limit]


def slot(number: int) -> str:
    """Return a slot's key as a run key has it."""
    return f"run/{sha256_hex(b'%d' % number)}"
