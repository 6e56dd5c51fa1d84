"""Scrub: every copy is looked at, what is missing or damaged is repaired from a good copy, and the rest is named.

A light scrub lists every endpoint and compares: a missing key, a size that differs. A deep one also reads and hashes
the keys of some parts, of 256 that hash prefixes make. No byte is copied that was not verified, and a bad copy is kept
under `quarantine/` for whoever wants to know how it came about.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, NamedTuple

from operators.core.progress import Progress, no_progress
from operators.core.storage.endpoint import Endpoint, EndpointAway
from operators.core.storage.members import Membership
from operators.core.storage.objects import is_content, is_whole
from operators.core.storage.records import Member, Record

PARTS = 256
QUARANTINE = "quarantine/"
_SKIPPED = (QUARANTINE, "pin/", "tomb/", "account/")
"""What has no owed number of copies: evidence, leases, what tries cost."""


class Flaw(NamedTuple):
    """One copy that is not as it should be."""

    key: str
    """Without its incarnation."""
    endpoint: str
    kind: Literal["missing", "damaged"]


@dataclass(kw_only=True, slots=True)
class Report:
    """What a scrub found and did."""

    endpoints: tuple[str, ...]
    """Those that count, and so were looked at."""
    strangers: tuple[str, ...]
    """Those that are away or do not count: bring them back, or resync them."""
    keys: int = 0
    bytes: int = 0
    """Of one copy of each key."""
    read_copies: int = 0
    read_bytes: int = 0
    flaws: Counter[str] = field(default_factory=Counter)
    """Number of copies missing or damaged."""
    repaired: int = 0
    lost: tuple[Flaw, ...] = ()
    """Copies of keys that have no good copy: restore a file from a backup; a slot was never acknowledged, and a resync
    of its endpoint `anew` is rid of it."""
    left: tuple[Flaw, ...] = ()
    """Flaws that stand: repair was not asked for, or did not succeed."""

    @property
    def is_clean(self) -> bool:
        """Say whether every key now has a good copy on every endpoint."""
        return not (self.strangers or self.lost or self.left)


class Pace:
    """Holds reading down to a number of bytes a second."""

    def __init__(
        self,
        bytes_per_second: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = bytes_per_second, clock, sleep
        self._started, self._spent = clock(), 0

    def spend(self, size: int) -> None:
        """Wait until that many bytes more may have been read."""
        self._spent += size
        if self._rate:
            self._sleep(max(0.0, self._started + self._spent / self._rate - self._clock()))


def part_of(key: str) -> int:
    """Return the part that a key is in, 0 to 255: spread evenly, the same on every endpoint and night."""
    return sha256(key.encode()).digest()[0]


def scrub(
    membership: Membership,
    *,
    parts: Collection[int] = (),
    repair: bool = True,
    pace: Pace | None = None,
    progress: Progress = no_progress,
) -> Report:
    """Look at every copy, repair what can be repaired, and return the report.

    Args:
        membership: The store's members.
        parts: Whose keys are also read and hashed; empty for a light scrub.
        repair: Whether flaws are mended; else they are only named.
        pace: Limit on bytes read, for each endpoint.
        progress: Told of every copy read and every flaw mended.

    Raises:
        QuorumLost: Fewer than N-W+1 endpoints count.
    """
    record = membership.read_record()
    held = membership.ask_quorum(record, _sizes, "scrub")
    wanted = sorted(set().union(*held.values()))
    report = Report(
        endpoints=tuple(sorted(held)),
        strangers=tuple(sorted(set(record.names) - set(held))),
        keys=len(wanted),
        bytes=sum(max(sizes.get(key, 0) for sizes in held.values()) for key in wanted),
    )
    flaws = _listed_flaws(wanted, held)
    chosen = [key for key in wanted if part_of(key) in parts]
    flaws |= _read_flaws(membership, record, held, chosen, report, pace or Pace(None), progress)
    _mend(membership, record, sorted(flaws), report, repair, progress)
    return report


def _sizes(endpoint: Endpoint, line: Member) -> dict[str, int]:
    prefix = f"{line.incarnation}/"
    keys = {found.key.removeprefix(prefix): found.bytes for found in endpoint.list(prefix)}
    return {key: size for key, size in keys.items() if not key.startswith(_SKIPPED)}


def _listed_flaws(wanted: Iterable[str], held: Mapping[str, Mapping[str, int]]) -> set[Flaw]:
    """Return what the listings alone show; copies of different sizes are all in doubt."""
    flaws = set()
    for key in wanted:
        flaws |= {Flaw(key, name, "missing") for name, sizes in held.items() if key not in sizes}
        if len({sizes[key] for sizes in held.values() if key in sizes}) > 1:
            flaws |= {Flaw(key, name, "damaged") for name, sizes in held.items() if key in sizes}
    return flaws


def _read_flaws(
    membership: Membership,
    record: Record,
    held: Mapping[str, Mapping[str, int]],
    chosen: Collection[str],
    report: Report,
    pace: Pace,
    progress: Progress,
) -> set[Flaw]:
    """Read and hash the chosen keys on every endpoint; return the copies that are not whole."""
    total = sum(key in sizes for sizes in held.values() for key in chosen)

    def read(endpoint: Endpoint, line: Member) -> set[Flaw]:
        flaws = set()
        for key in (key for key in chosen if key in held.get(endpoint.name, ())):
            data = endpoint.get(f"{line.incarnation}/{key}")
            if data is None or not is_whole(key, data):
                flaws.add(Flaw(key, endpoint.name, "missing" if data is None else "damaged"))
            report.read_copies += 1
            report.read_bytes += len(data or b"")
            progress(report.read_copies, total, "copies read")
            pace.spend(len(data or b""))
        return flaws

    return set().union(*membership.ask_counted(record, read).values()) if chosen else set()


def _mend(
    membership: Membership, record: Record, flaws: list[Flaw], report: Report, repair: bool, progress: Progress
) -> None:
    left, lost = [], []
    for done, flaw in enumerate(flaws, start=1):
        outcome = mend(membership, record, flaw, write=repair)
        # Where sizes differ every copy is in doubt, and a writer may have come by: what is sound now is no flaw.
        report.flaws[flaw.kind] += outcome != "sound"
        report.repaired += outcome == "mended"
        if outcome == "lost":
            lost.append(flaw)
        elif outcome == "left":
            left.append(flaw)
        progress(done, len(flaws), "flaws looked into")
    report.left, report.lost = tuple(left), tuple(lost)


def mend(
    membership: Membership, record: Record, flaw: Flaw, *, write: bool
) -> Literal["mended", "sound", "left", "lost"]:
    """Bring one copy to the bytes of a good one, if it is not good already; keep what was there under quarantine."""
    endpoint, line = membership.endpoints[flaw.endpoint], record.line(flaw.endpoint)
    target = f"{line.incarnation}/{flaw.key}"
    try:
        held = endpoint.get(target)
        if held is not None and is_whole(flaw.key, held):
            return "sound"
        good = _good_copy(membership, record, flaw)
        if good is None:
            return "lost"
        if not write:
            return "left"
        if held is not None:
            endpoint.put(f"{line.incarnation}/{QUARANTINE}{flaw.key}", held)
        if held is not None or is_content(flaw.key):
            endpoint.put(target, good)
        else:
            endpoint.put_if_absent(target, good)
        return "mended" if endpoint.get(target) == good else "left"
    except EndpointAway:
        return "left"


def _good_copy(membership: Membership, record: Record, flaw: Flaw) -> bytes | None:
    """Return verified bytes from another endpoint that counts, None where none has them.

    Raises:
        EndpointAway: One that may have them does not answer.
    """

    def whole(endpoint: Endpoint, line: Member) -> bytes | None:
        data = endpoint.get(f"{line.incarnation}/{flaw.key}")
        return data if data is not None and is_whole(flaw.key, data) else None

    found = membership.ask_counted(record, whole)
    copies = {data for data in found.values() if data is not None}
    if len(copies) == 1:
        return copies.pop()
    if copies or len(found) < len(record.members):
        raise EndpointAway(f"{flaw.key}: cannot tell which copy is good; endpoints answering: {sorted(found)}")
    return None
