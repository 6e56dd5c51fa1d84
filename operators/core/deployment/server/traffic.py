"""Which version answers which request: a pure function of the request's id, and the state that survives a kill."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1
TWIN = "-twin"
"""Ends the name of a version that answers with wrong labels on purpose: a rehearsal of being thrown out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What a server serves. A new value replaces the old one in one step; no request sees half of it."""

    current: str | None = None
    """Version that answers; None on a server that never had a release."""
    former: str | None = None
    """Version that stays resident so that a rollback needs neither store nor loading."""
    candidate: str | None = None
    share: float = 0.0
    """Part of the requests that the candidate answers, 0 to 1."""
    releases: Mapping[str, str] = field(default_factory=dict)
    """Version to digest of its release manifest, for every resident version."""
    is_shadow: bool = False
    """The candidate answers copies of what the current version answers, and nobody is given its answers."""
    order: int = 0
    """Place in the deploy stream of the step that made this: an earlier one comes too late."""
    by_hand: Mapping[str, Any] | None = None
    """The newest rollback that was made on the servers first: `request`, `by`, `at`, what it left and went to
    (`from_version`, `from_release`, `to_version`, `to_release`), and `is_noted` once a stream of the store has it."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share={self.share}: 0 to 1")
        if (self.share or self.is_shadow) and not self.candidate:
            raise ValueError(f"share={self.share}, shadow={self.is_shadow} without a candidate: name one")
        if self.candidate and not self.current:
            raise ValueError(f"candidate {self.candidate!r} without a current version: make it current instead")
        if any(is_twin(name) for name in (self.current, self.former) if name):
            raise ValueError("a twin is made to be thrown out: it can be a candidate and nothing else")
        missing = [name for name in (self.current, self.former, self.candidate) if name and name not in self.releases]
        if missing:
            raise ValueError(f"versions {missing} are not loaded: load them first")

    @property
    def is_split(self) -> bool:
        """Whether callers' requests go to two versions."""
        return self.candidate is not None and 0 < self.share < 1

    def check_follows(self, other: Traffic) -> None:
        """Return if this may replace `other`.

        Raises:
            ValueError: `other` is of a later step, or of a rollback that this one's controller does not know of.
        """
        if self.order < other.order:
            raise ValueError(f"step {self.order} comes after step {other.order}: another controller has gone on")
        told = (self.by_hand or {}).get("request")
        if other.by_hand and not other.by_hand["is_noted"] and told != other.by_hand["request"]:
            raise ValueError(
                f"{other.by_hand['by']} rolled back to {other.by_hand['to_version']} at {other.by_hand['at']}, and no "
                "stream has it yet: the next controller notes it first"
            )

    def version_for(self, request_id: str) -> str | None:
        """Return the version that answers a request: always the same for the same id and share."""
        if self.candidate and position(request_id) < self.share:
            return self.candidate
        return self.current


def is_twin(version: str) -> bool:
    """Say whether a version answers wrongly on purpose."""
    return version.endswith(TWIN)


def position(request_id: str) -> float:
    """Return where a request lies in [0, 1): the first 8 bytes of the SHA-256 of its id."""
    return int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:8]) / 2**64


def write_traffic(path: Path, traffic: Traffic) -> None:
    """Persist the state so that a kill at any moment leaves the old one or the new one, whole."""
    document: dict[str, Any] = {"format": FORMAT, **asdict(traffic)}
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w") as handle:
        json.dump(document, handle, sort_keys=True)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_traffic(path: Path) -> Traffic:
    """Read back the state; a server that never had one serves nothing."""
    if not path.exists():
        return Traffic()
    document = json.loads(path.read_text())
    if document.pop("format", None) != FORMAT:
        raise ValueError(f"{path} has another format than {FORMAT}: move it away and deploy again")
    return Traffic(**document)
