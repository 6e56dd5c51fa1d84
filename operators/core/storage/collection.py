"""How careful a collection is, and what it would delete, or did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

NO_LIST = "no list is open: mark first"


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectSpec:
    """How careful the collector is."""

    grace_seconds: float = 3 * 24 * 3600.0
    """Between the last write of a key and its marking, and between marking and sweeping."""
    skew_seconds: float = 60.0
    """How far clocks may differ."""
    max_share: float = 0.1
    """The most of the store's bytes that one collection may take, 0 to 1."""

    def __post_init__(self) -> None:
        if self.grace_seconds <= 0 or self.skew_seconds < 0:
            raise ValueError(f"grace_seconds={self.grace_seconds}, skew_seconds={self.skew_seconds}: must be positive")
        if not 0 < self.max_share <= 1:
            raise ValueError(f"max_share={self.max_share}: must be above 0 and at most 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a collection would delete, or did."""

    keys: tuple[str, ...]
    bytes: int
    """Of one copy of each."""
    total_bytes: int
    """Of one copy of all that the store holds."""
    waits_for: str = ""
    """Why nothing was done yet; empty where it was."""

    @property
    def is_listless(self) -> bool:
        """Say whether there was no list to sweep."""
        return self.waits_for == NO_LIST

    def document(self) -> dict[str, object]:
        """Return it as plain JSON."""
        return {
            "keys": list(self.keys),
            "bytes": self.bytes,
            "total_bytes": self.total_bytes,
            "waits_for": self.waits_for,
        }

    def by_kind(self) -> dict[str, int]:
        """Return how many keys of each kind."""
        return dict(sorted(Counter(key.split("/")[0] for key in self.keys).items()))
