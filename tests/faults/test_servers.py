"""Real servers killed, stopped, wiped and rotten while the store is written and read."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from operators.core.errors import NightshiftError
from operators.core.manifest import Made, StageCall
from operators.core.storage import Store
from operators.core.storage.bucket import S3Endpoint
from operators.core.storage.endpoint import EndpointAway
from operators.core.storage.primary import move_primary, settle_slots
from operators.core.storage.resync import resync
from tests.faults.catalogue import LEDGER, Kind
from tests.faults.conftest import IMPATIENT, Sites
from tests.seaweed import Seaweed

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def servers_are_back(sites: Sites) -> Iterator[None]:
    """Have all servers up again after each test."""
    yield
    for server in sites.servers:
        server.resume()
        if not is_up(server):
            server.kill()
            server.start()
            server.wait()


def is_up(server: Seaweed) -> bool:
    """Say whether a server answers."""
    try:
        server.files().call_s3("list_buckets")
    except Exception:
        return False
    return True


def come_back(server: Seaweed) -> None:
    """Start a server again and return once its old bucket takes writes."""
    server.start()
    deadline = time.monotonic() + 120
    endpoint = S3Endpoint(server.settings(), IMPATIENT)
    while True:
        try:
            endpoint.put("ready", b"ready")
            endpoint.delete("ready")
            return
        except EndpointAway:
            assert time.monotonic() < deadline
            time.sleep(0.2)


class Traffic:
    """A writer and a reader that go on through all faults, and what they were told."""

    def __init__(self, sites: Sites, kind: Kind) -> None:
        self.kind = kind
        self.told: dict[str, tuple[str, bytes]] = {}
        self.wrong: list[str] = []
        self.longest_seconds = 0.0
        self._sites = sites
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._loop, args=(work,)) for work in (self._write, self._read)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Return once so many more writes were acknowledged."""
        goal, deadline = len(self.told) + more, time.monotonic() + 240
        while len(self.told) < goal:
            assert time.monotonic() < deadline, f"no progress: {self.wrong}"
            time.sleep(0.02)

    def _loop(self, work: Callable[[Store, int], bool]) -> None:
        store = self._sites.open(IMPATIENT)
        number = 0
        while not self._end.is_set():
            number += 1
            started = time.monotonic()
            try:
                if work(store, number):
                    LEDGER.note(self.kind, "survived", fired=0)
            except NightshiftError as error:
                LEDGER.note(self.kind, type(error).__name__, fired=0)
            except Exception as error:
                self.wrong.append(f"{type(error).__name__}: {error}")
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - started)

    def _write(self, store: Store, number: int) -> bool:
        content = b"%08d" % number * 4000
        call = StageCall(stage="ingest", revision=1, spec={"number": number})
        result = store.once(call, lambda: Made(files=(store.put_bytes("x.bin", content),)))
        self.told[call.run_key] = (result.digest, content)
        return True

    def _read(self, store: Store, number: int) -> bool:
        if not self.told:
            time.sleep(0.02)
            return False
        self._compare(store, list(self.told)[number * 7 % len(self.told)])
        return True

    def _compare(self, store: Store, run_key: str) -> None:
        digest, content = self.told[run_key]
        found = store.find(run_key)
        if found is None or found.digest != digest:
            self.wrong.append(f"{run_key} was told to be {digest} and is {found}")
        elif store.read(found.manifest.file("x.bin")) != content:
            self.wrong.append(f"wrong bytes for {run_key}")

    def check(self, store: Store) -> None:
        """Check all that was ever acknowledged."""
        for run_key in self.told:
            self._compare(store, run_key)
        assert self.wrong == []


def test_servers_killed_in_turn_under_traffic(sites: Sites) -> None:
    """SIGKILL of each, the primary too: what was acknowledged is read after, and work goes on."""
    with Traffic(sites, Kind.SERVER_KILLED) as traffic:
        traffic.wait_for(3)
        for server in reversed(sites.servers):
            server.kill()
            time.sleep(1.5)
            with pytest.raises(EndpointAway, match=r"connect|Connect"):
                S3Endpoint(server.settings(), IMPATIENT).get("identity.json")
            LEDGER.note(Kind.REFUSED, "EndpointAway")
            LEDGER.fired[Kind.SERVER_KILLED] += 1
            come_back(server)
            traffic.wait_for(3)
    traffic.check(sites.open())


def test_servers_stopped_in_turn_under_traffic(sites: Sites) -> None:
    """SIGSTOP of each and SIGCONT: late effects change nothing that was acknowledged, and work goes on."""
    with Traffic(sites, Kind.STOPPED) as traffic:
        traffic.wait_for(3)
        for server in reversed(sites.servers):
            server.stop()
            time.sleep(6)
            server.resume()
            LEDGER.fired[Kind.STOPPED] += 1
            traffic.wait_for(3)
    traffic.check(sites.open())


def test_a_hung_server_costs_one_limit(sites: Sites) -> None:
    """Of ten requests to a stopped server the first takes its limit, and the others together a trial's."""
    server = sites.servers[1]
    endpoint = S3Endpoint(server.settings(), dataclasses.replace(IMPATIENT, pause_seconds=5.0))
    endpoint.get("identity.json")
    server.stop()
    started = time.monotonic()
    for _ in range(10):
        with pytest.raises(EndpointAway):
            endpoint.get("identity.json")
    seconds = time.monotonic() - started
    server.resume()
    LEDGER.note(Kind.STOPPED, "EndpointAway")

    assert seconds < 2 * IMPATIENT.limit_seconds(0)


def test_the_primary_is_moved_away_from_a_hung_server(sites: Sites) -> None:
    """Stopped for good: moved, work goes on; resumed, it finds itself a member like the others."""
    store = sites.open()
    before = store.once(StageCall(stage="ingest", revision=1, spec={"n": 0}), lambda: Made())
    sites.servers[0].stop()
    impatient = sites.membership(IMPATIENT)
    record = move_primary(impatient, "site_b")
    assert settle_slots(impatient) == []
    during = Store(impatient).once(StageCall(stage="ingest", revision=1, spec={"n": 1}), lambda: Made())
    sites.servers[0].resume()
    LEDGER.note(Kind.STOPPED, "survived")

    after = sites.open()
    assert after.record == record
    assert after.find(before.manifest.run_key).digest == before.digest  # type: ignore[union-attr]
    assert after.find(during.manifest.run_key).digest == during.digest  # type: ignore[union-attr]


@pytest.mark.parametrize("number", [0, 2], ids=["primary", "another"])
def test_a_wiped_server_counts_for_nothing_until_it_is_refilled(sites: Sites, number: int) -> None:
    """A new disk in the old place while work goes on; refilled, it and one other have all that was acknowledged."""
    server, name = sites.servers[number], sites.settings.endpoints[number].name
    with Traffic(sites, Kind.WIPED) as traffic:
        traffic.wait_for(5)
        server.kill()
        server.wipe()
        server.start()
        server.wait()
        LEDGER.fired[Kind.WIPED] += 1
        time.sleep(2)
        done = resync(sites.membership(), name)
        traffic.wait_for(3)
    assert done.lost == ()
    assert done.keys > 0
    other = sites.servers[1]
    other.kill()
    traffic.check(sites.open(IMPATIENT))


def test_a_rotten_copy_on_a_servers_disk_is_never_returned(sites: Sites) -> None:
    """One byte changed in the volume of the nearest server: the next one is read, and a new put mends it."""
    store = sites.open()
    content = os.urandom(50_000)  # what can be compressed would not be found as it is
    entry = store.put_bytes("x.bin", content)
    server = sites.servers[0]
    server.kill()
    places = server.rot(content)
    come_back(server)
    LEDGER.note(Kind.ROTTEN, "survived", fired=places)
    line = store.record.line("site_a")
    key = f"{line.incarnation}/obj/{entry.stored_sha256[:2]}/{entry.stored_sha256}"
    held = None
    try:
        held = S3Endpoint(server.settings(), IMPATIENT).digest(key)
    except EndpointAway as error:
        LEDGER.note(Kind.ROTTEN, type(error).__name__, fired=0)

    assert places > 0
    assert held != entry.stored_sha256
    assert sites.open(IMPATIENT).read(entry) == content
    sites.open().put_bytes("x.bin", content)
    assert S3Endpoint(server.settings()).digest(key) == entry.stored_sha256


def held_by(server: Seaweed) -> dict[str, bytes | None]:
    """Return all that a server holds."""
    endpoint = S3Endpoint(server.settings())
    return {found.key: endpoint.get(found.key) for found in endpoint.list("")}


def test_another_sites_answers_count_for_nothing(sites: Sites) -> None:
    """Two addresses are swapped in the configuration: neither counts, and what is there stays as it was."""
    store = sites.open()
    result = store.once(StageCall(stage="ingest", revision=1, spec={"n": 0}), lambda: Made())
    before = [held_by(server) for server in sites.servers]
    first, second, _ = sites.proxies
    first.upstream, second.upstream = second.upstream, first.upstream
    for work in (lambda: store.find(result.manifest.run_key), lambda: store.put_bytes("x.bin", b"x"), sites.open):
        with pytest.raises(NightshiftError) as caught:
            work()
        LEDGER.note(Kind.SWAPPED, type(caught.value).__name__)
    sites.heal()

    # Content that was on its way may lie under another's prefix, where nobody looks for it; nothing else was written.
    for server, old in zip(sites.servers, before, strict=True):
        now = held_by(server)
        assert {key: now.get(key) for key in old} == old
        assert not any(kind in key for key in set(now) - set(old) for kind in ("/run/", "/log/", "member/"))
    assert sites.open().find(result.manifest.run_key) is not None


def test_an_emptied_bucket_counts_for_nothing(sites: Sites) -> None:
    """Emptied under the store's feet: no entry is taken for absent, what was acknowledged is read from the others."""
    store = sites.open()
    result = store.once(StageCall(stage="ingest", revision=1, spec={"n": 0}), lambda: Made())
    sites.servers[1].empty()
    LEDGER.note(Kind.WIPED, "survived")

    assert sites.open().find(result.manifest.run_key) is not None
    assert store.find(result.manifest.run_key) is not None


def test_a_name_that_is_not_resolved_is_an_endpoint_that_is_away(sites: Sites) -> None:
    """The domain name service knows nothing: refused at once, with the address."""
    settings = dataclasses.replace(sites.settings.endpoints[0], endpoint_url="http://store.invalid:9")
    with pytest.raises(EndpointAway, match=r"store\.invalid"):
        S3Endpoint(settings, IMPATIENT).get("a")
    LEDGER.note(Kind.NO_NAME, "EndpointAway")
