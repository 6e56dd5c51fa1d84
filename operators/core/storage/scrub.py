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

from operators.core.progress import Progress, no_progress
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.members import Membership
from operators.core.storage.mending import QUARANTINE, Flaw, mend
from operators.core.storage.objects import look_at
from operators.core.storage.records import Member, Record

PARTS = 256
_SKIPPED = (QUARANTINE, "pin/", "tomb/", "account/")
"""What has no owed number of copies: evidence, leases, what tries cost."""


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
    _mend(membership, record, held, sorted(flaws), report, repair, progress)
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
        sizes = held.get(endpoint.name, {})
        for key in (key for key in chosen if key in sizes):
            state = look_at(endpoint, line, key)
            if state != "whole":
                flaws.add(Flaw(key, endpoint.name, state))
            report.read_copies += 1
            report.read_bytes += sizes[key]
            progress(report.read_copies, total, "copies read")
            pace.spend(sizes[key])
        return flaws

    return set().union(*membership.ask_counted(record, read).values()) if chosen else set()


def _mend(
    membership: Membership,
    record: Record,
    held: Mapping[str, Mapping[str, int]],
    flaws: list[Flaw],
    report: Report,
    repair: bool,
    progress: Progress,
) -> None:
    def mended(flaw: Flaw) -> str:
        size = max(sizes.get(flaw.key, 0) for sizes in held.values())
        return mend(membership, record, flaw, size=size, write=repair)

    left, lost = [], []
    for done, (flaw, outcome) in enumerate(zip(flaws, membership.round.map(mended, flaws), strict=True), start=1):
        # Where sizes differ every copy is in doubt, and a writer may have come by: what is sound now is no flaw.
        report.flaws[flaw.kind] += outcome != "sound"
        report.repaired += outcome == "mended"
        if outcome == "lost":
            lost.append(flaw)
        elif outcome == "left":
            left.append(flaw)
        progress(done, len(flaws), "flaws looked into")
    report.left, report.lost = tuple(left), tuple(lost)
