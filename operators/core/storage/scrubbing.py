"""The scrub controller: a light look at everything and a deep one at a share, night after night, each on record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from operators.core.manifest import Made, Manifest, StageCall, canonical
from operators.core.progress import Progress, no_progress
from operators.core.storage.scrub import PARTS, Pace, Report, scrub
from operators.core.storage.store import Store
from operators.core.storage.streams import Entry

STREAM = "scrub"
REVISION = 2
REPORT = "report.json"
NIGHTLY_PARTS = 9
"""Of 256: all in a month."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScrubSpec:
    """How much a scrub reads."""

    deep_parts: int = NIGHTLY_PARTS
    """Parts, of 256, whose every copy is read and hashed."""
    bytes_per_second: float | None = None
    """Limit on what is read, all endpoints together; None for none."""
    repair: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.deep_parts <= PARTS:
            raise ValueError(f"deep_parts={self.deep_parts}: must be 0 (light only) to {PARTS} (everything)")
        if self.bytes_per_second is not None and self.bytes_per_second <= 0:
            raise ValueError(f"bytes_per_second={self.bytes_per_second}: must be positive, or None for no limit")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scrubbed:
    """A scrub and where it is on record."""

    manifest: str
    parts: tuple[int, ...]
    report: Report


def scrub_storage(store: Store, spec: ScrubSpec, progress: Progress = no_progress) -> Scrubbed:
    """Scrub once, from where the last one left off, and append what was found to the stream `scrub`.

    Raises:
        QuorumLost: Too few endpoints count.
    """
    stream = store.stream(STREAM)
    head = stream.head()
    parts = _next_parts(store, head, spec.deep_parts)
    pace = Pace(spec.bytes_per_second)
    report = scrub(store.membership, parts=parts, repair=spec.repair, pace=pace, progress=progress)
    facts = {**summary(report), "parts": parts, "next_part": (_cursor(store, head) + len(parts)) % PARTS}
    call = StageCall(stage="scrub_storage", revision=REVISION, spec={"after": head.sha256 if head else None})
    files = (store.put_bytes(REPORT, canonical(_document(report))),)
    digest = store.put_manifest(Manifest.of(call, Made(files=files, facts=facts)))
    stream.append(digest, head)
    return Scrubbed(manifest=digest, parts=tuple(parts), report=report)


def summary(report: Report) -> dict[str, Any]:
    """Return a report's numbers as plain JSON."""
    return {
        "endpoints": list(report.endpoints),
        "strangers": list(report.strangers),
        "keys": report.keys,
        "bytes": report.bytes,
        "read_copies": report.read_copies,
        "read_bytes": report.read_bytes,
        "missing": report.flaws["missing"],
        "damaged": report.flaws["damaged"],
        "repaired": report.repaired,
        "left": len(report.left),
        "lost": len(report.lost),
    }


def _next_parts(store: Store, head: Entry | None, count: int) -> list[int]:
    first = _cursor(store, head)
    return [(first + number) % PARTS for number in range(count)]


def _cursor(store: Store, head: Entry | None) -> int:
    return int(store.manifest(head.manifest).facts["next_part"]) if head else 0


def _document(report: Report) -> dict[str, Any]:
    flaws = {"left": [flaw._asdict() for flaw in report.left], "lost": [flaw._asdict() for flaw in report.lost]}
    return {**summary(report), **flaws}
