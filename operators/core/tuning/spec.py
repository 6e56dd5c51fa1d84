"""Spec of a search: what is tried, how often, and for how long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Value = int | float | str | bool
Method = Literal["tpe", "random", "grid"]
MAX_TRIALS = 1000


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several values."""

    name: str
    """Field of the training's spec, or of its adapter: `adapter.lora_rank`."""
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2 or len(set(self.values)) != len(self.values):
            raise ValueError(f"search: {self.name} of {self.values}: two values at least, each once")

    @property
    def edges(self) -> tuple[Value, ...]:
        """Values that stand for all: if each of them fits, every other does."""
        return self.values


@dataclass(frozen=True, slots=True)
class Range:
    """Any number between two; a whole one where both are whole."""

    name: str
    """Field of the training's spec, or of its adapter: `adapter.alpha`."""
    lowest: float
    highest: float
    is_log: bool = False
    """Whether a tenth of the range is a factor: right for learning rates."""

    def __post_init__(self) -> None:
        if not -math.inf < self.lowest < self.highest < math.inf or (self.is_log and self.lowest <= 0):
            raise ValueError(
                f"search: {self.name} from {self.lowest} to {self.highest}: two numbers, the lower first, above 0 if "
                "is_log"
            )

    @property
    def edges(self) -> tuple[Value, ...]:
        """Values that stand for all: if each of them fits, every other does."""
        return self.lowest, self.highest


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSpec:
    """A search over fields of the training's spec, judged by rows that no trial trains on, never by the test split."""

    space: tuple[Choices | Range, ...]
    trials: int = 0
    """Trainings at most; 0 searches nothing."""
    method: Method = "tpe"
    """`tpe` draws near what was good so far, `random` anywhere, `grid` takes every combination of choices in turn."""
    held_out: float = 0.1
    """Share of the training rows that trials are judged by; the best trial's model is the one that goes on."""
    budget_seconds: float = 8 * 3600
    """No trial begins once all of them, over every try, have taken so long."""
    prunes: bool = True
    """End a trial after an epoch that leaves it worse than half of the trials before it were at that epoch."""
    seed: int = 0

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.space]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"search: space of {names}: one field at least, each once")
        if self.method not in get_args(Method):
            raise ValueError(f"search: method={self.method!r}: choose one of {', '.join(get_args(Method))}")
        if not 0 <= self.trials <= MAX_TRIALS:
            raise ValueError(f"search: trials={self.trials}: 0 to {MAX_TRIALS}")
        if not 0.01 <= self.held_out <= 0.5:
            raise ValueError(f"search: held_out={self.held_out}: 0.01 to 0.5")
        if not 0 < self.budget_seconds < math.inf:
            raise ValueError(f"search: budget_seconds={self.budget_seconds}: above 0")
        if self.method == "grid" and (ranges := [one.name for one in self.space if isinstance(one, Range)]):
            raise ValueError(f"search: a grid has no ranges: give choices for {ranges}, or search by 'tpe'")
