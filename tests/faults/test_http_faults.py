"""The store's promises while the way to one server does harm, through the real S3 client and three real servers.

Under each fault a writer and a reader work on: each of their operations ends in success or in a clear error. When the
faults are over, what was acknowledged is there, a commit has one value, and all goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from operators.core.errors import NightshiftError
from operators.core.manifest import Made, StageCall, sha256_hex
from operators.core.storage import Entry, Result, Store
from tests.faults.catalogue import LEDGER, Kind
from tests.faults.conftest import IMPATIENT, Sites
from tests.faults.proxy import Rule

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

BEFORE = StageCall(stage="ingest", revision=1, spec={"day": "before"})
NOW = StageCall(stage="ingest", revision=1, spec={"day": "now"})
STREAM = "release-x"
Answer = TypeVar("Answer")

WRITES = {
    "a commit": r"/run/",
    "a stream's entry": r"/log/",
    "a file": r"/obj/",
    "a manifest": r"/man/",
}
READS = {
    "a commit": r"/run/[^?]*$",
    "a file": r"/obj/[^?]*$",
    "an identity": r"^identity\.json$",
    "a member record": r"^member/",
}
LISTS = {"a commit's terms": r"prefix=.*/run/", "member records": r"prefix=member/"}

WRITE_FAULTS = (
    Kind.BLACKHOLE, Kind.SLOW_DOWN, Kind.SERVER_ERROR, Kind.LOST_REPLY, Kind.LOST_CALL, Kind.LATE_DUPLICATE,
    Kind.LATE_EFFECT, Kind.LOST_WRITE, Kind.SPURIOUS_412, Kind.SPURIOUS_409, Kind.DENIED, Kind.SKEWED, Kind.QUOTA,
    Kind.REDIRECT, Kind.IGNORED_CONDITION, Kind.DELAY, Kind.WRONG_CHECKSUM,
)  # fmt: skip
READ_FAULTS = (
    Kind.BLACKHOLE, Kind.SLOW_BODY, Kind.SLOW_DOWN, Kind.SERVER_ERROR, Kind.LOST_CALL, Kind.CUT_BODY, Kind.SHORT_BODY,
    Kind.FLIPPED_BIT, Kind.WRONG_KEY, Kind.STALE, Kind.WRONG_CHECKSUM, Kind.DENIED, Kind.REDIRECT, Kind.DELAY,
)  # fmt: skip
LIST_FAULTS = (
    Kind.STALE_LIST, Kind.CIRCLING_LIST, Kind.CUT_BODY, Kind.SHORT_BODY, Kind.FLIPPED_BIT, Kind.SLOW_DOWN,
    Kind.SLOW_BODY, Kind.BLACKHOLE, Kind.DENIED, Kind.REDIRECT,
)  # fmt: skip
IN_SHORT = {
    (Kind.LOST_REPLY, "PUT", "a commit"),
    (Kind.LOST_CALL, "PUT", "a file"),
    (Kind.LATE_DUPLICATE, "PUT", "a commit"),
    (Kind.SLOW_DOWN, "PUT", "a commit"),
    (Kind.FLIPPED_BIT, "GET", "a file"),
    (Kind.SHORT_BODY, "GET", "a commit"),
    (Kind.STALE, "GET", "an identity"),
    (Kind.STALE_LIST, "LIST", "a commit's terms"),
}
"""What `make test` has time for."""


def marks(kind: Kind, verb: str, what: str) -> tuple[pytest.MarkDecorator, ...]:
    """Return what is said of a case: most are for the long run."""
    return () if (kind, verb, what) in IN_SHORT else (pytest.mark.slow,)


def cases() -> list[object]:
    """Return every fault with every kind of request that it can meet."""
    table = [("PUT", kind, what, key) for kind in WRITE_FAULTS for what, key in WRITES.items()]
    table += [("GET", kind, what, key) for kind in READ_FAULTS for what, key in READS.items()]
    table += [("LIST", kind, what, key) for kind in LIST_FAULTS for what, key in LISTS.items()]
    return [
        pytest.param(
            Rule(kind=kind, method="GET" if verb == "LIST" else verb, key=key),
            id=f"{kind.name.lower()}-{verb.lower()}-{what.replace(' ', '_')}",
            marks=marks(kind, verb, what),
        )
        for verb, kind, what, key in table
    ]


def attempt(kind: Kind, operation: Callable[[], Answer]) -> Answer | None:
    """Return what an operation came to, None where it was refused; an error that is none of ours is a failure."""
    try:
        answer = operation()
    except NightshiftError as error:
        LEDGER.note(kind, type(error).__name__, fired=0)
        return None
    LEDGER.note(kind, "survived", fired=0)
    return answer


class Work:
    """What one writer does under a fault, and what it was told."""

    def __init__(self, sites: Sites, kind: Kind) -> None:
        self.sites, self.kind = sites, kind
        store = sites.open()
        self.content = b"what was there before" * 100
        self.file = store.put_bytes("before.bin", self.content)
        self.before = store.once(BEFORE, lambda: Made(files=(self.file,)))
        self.first = store.stream(STREAM).append(sha256_hex(b"first"), None)
        self.committed: Result | None = None
        self.appended: Entry | None = None

    def under_fault(self) -> None:
        """Read what was there, and write; keep what was acknowledged."""
        store = attempt(self.kind, lambda: self.sites.open(IMPATIENT))
        if store is None:
            return
        read = attempt(self.kind, lambda: store.read(self.file))
        assert read in (self.content, None)
        found = attempt(self.kind, lambda: store.find(BEFORE.run_key))
        assert found is None or found.digest == self.before.digest
        head = attempt(self.kind, store.stream(STREAM).head)
        assert head in (self.first, None)
        self.committed = attempt(self.kind, lambda: store.once(NOW, lambda: made(store, b"mine")))
        self.appended = attempt(self.kind, lambda: store.stream(STREAM).append(sha256_hex(b"mine"), self.first))

    def after_it(self) -> None:
        """Check that nothing acknowledged is lost or changed, that a rival changes nothing, and that work goes on."""
        store = self.sites.open()
        assert store.read(self.file) == self.content
        found = store.find(BEFORE.run_key)
        assert found is not None and found.digest == self.before.digest
        rival = store.once(NOW, lambda: made(store, b"a rival's"))
        assert self.committed is None or rival.digest == self.committed.digest
        entry = store.stream(STREAM).append(sha256_hex(b"a rival's"), self.first)
        assert self.appended in (None, entry)
        self.committed, self.appended = rival, entry
        assert store.read(rival.manifest.file("now.bin")) in (b"mine", b"a rival's")
        assert store.stream(STREAM).entries() == [self.first, entry]


def made(store: Store, data: bytes) -> Made:
    """Return the outcome of a stage that wrote these bytes."""
    return Made(files=(store.put_bytes("now.bin", data),))


@pytest.mark.parametrize("rule", cases())
def test_promises_hold_under_a_fault(sites: Sites, rule: Rule) -> None:
    """One request to the primary is harmed: wrong bytes are never returned, a commit has one value, work goes on."""
    rule.detail = sites.servers[1].url if rule.kind is Kind.REDIRECT else ""
    work = Work(sites, rule.kind)
    proxy = sites.proxies[0]
    proxy.schedule(rule)
    work.under_fault()
    if not rule.fired:
        # The reader was satisfied by what it remembered, or nothing is there to be read: once more, afresh.
        attempt(rule.kind, lambda: sites.open(IMPATIENT).find(NOW.run_key))
    LEDGER.fired[rule.kind] += rule.fired

    assert rule.fired, f"{rule.kind} never fired"
    for _ in range(2):
        proxy.release()
        work.after_it()
