"""What a backup covers, how long backups are kept, and what a recovery may cost. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DRILL_KEY = "drill"
"""Name of the recovery key that the drill holds, and that is lost with the platform."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillSpec:
    """What a recovery may cost; a drill that shows more is red."""

    rpo_target_seconds: float = 26 * 3600.0
    """Age of the newest backup: a night and two hours."""
    rto_target_seconds: float = 3600.0
    """From the kit to the first answered prediction."""
    loss_tolerance: float = 0.01
    """By how much of the first step's loss a step that is trained again may lose another: no more than rounding."""

    def __post_init__(self) -> None:
        if self.rpo_target_seconds <= 0 or self.rto_target_seconds <= 0:
            raise ValueError(
                f"targets of {self.rpo_target_seconds} and {self.rto_target_seconds} s: they must be positive"
            )
        if not 0 < self.loss_tolerance < 1:
            raise ValueError(f"loss_tolerance={self.loss_tolerance}: a share of the first step's loss, between 0 and 1")

    def missed(self, facts: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with a drill, in words; nothing where all is well."""
        if error := facts.get("error"):
            return [str(error)]
        found = [
            f"{name.upper()} {facts[f'{name}_seconds']:,.0f} s, {target:,.0f} s is the target"
            for name, target in (("rpo", self.rpo_target_seconds), ("rto", self.rto_target_seconds))
            if facts[f"{name}_seconds"] > target
        ]
        if facts.get("different_predictions"):
            found.append(f"{facts['different_predictions']} of {facts['compared_predictions']} predictions differ")
        if error := facts.get("retraining_error"):
            found.append(f"what was restored does not train: {error}")
        elif (difference := facts.get("retraining_difference") or 0.0) > self.loss_tolerance:
            found.append(f"the first steps of the training lose another: by {difference:.1%} of the first one's loss")
        if facts.get("dangling"):
            found.append(f"{facts['dangling']} tasks of Airflow's database name what the store does not hold")
        return found
