"""What a backup covers, and how long backups are kept. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class BackUpSpec:
    """Which history of a recipe goes with its release."""

    recipe: str
    """Name of the recipe, as in its streams."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", self.recipe):
            raise ValueError(f"recipe {self.recipe!r}: a lower-case letter, then up to 30 of a-z, 0-9 and '_'")

    @property
    def streams(self) -> tuple[str, ...]:
        """Streams that are backed up whole; the one that says what is live comes last, also when restored."""
        return (f"dataset-{self.recipe}", f"release-{self.recipe}")

    @property
    def stream(self) -> str:
        """The stream of this recipe's backups, on the backup store."""
        return f"backup-{self.recipe}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionSpec:
    """Of how many days, weeks, months and years that have a backup the newest one is kept; the newest of all always."""

    daily: int = 7
    weekly: int = 5
    monthly: int = 12
    yearly: int = 3

    def __post_init__(self) -> None:
        counts = (self.daily, self.weekly, self.monthly, self.yearly)
        if min(counts) < 0:
            raise ValueError(f"retention of {counts} days, weeks, months and years: give numbers from 0 on")
