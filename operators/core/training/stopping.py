"""When a training stops before its last step: its loss has diverged, or its epochs get no better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

LEVEL_KEEPS = 0.95
"""Share of the loss's running level that a step keeps: the level is that of some twenty steps."""


def best_epoch(losses: Sequence[float]) -> int:
    """Return the epoch of the lowest held-out loss, from 0; the first of equal ones."""
    return losses.index(min(losses))


def is_stale(losses: Sequence[float], patience: int) -> bool:
    """Return whether the last `patience` epochs, if that is not 0, have all been no better than one before them."""
    return 0 < patience < len(losses) - best_epoch(losses) if losses else False


def is_behind(losses: Sequence[float], limits: Sequence[float]) -> bool:
    """Return whether the best epoch so far has a held-out loss above the limit of the last, where that has one."""
    return 0 < len(losses) <= len(limits) and min(losses) > limits[len(losses) - 1]


@dataclass(slots=True)
class LossWatch:
    """Tells a training that has lost what it learnt from one that meets a hard batch or over-fits a little.

    A loss near zero may rise many times over without harm. So the running level must be `ratio` times its lowest and
    no better than that of a model that has learnt nothing: the first step's loss, and `untaught`, for a student knows
    a lot at its first step.
    """

    ratio: float
    untaught: float = 0.0
    """Loss of one that takes all labels for equally likely, as far as that is known."""
    first: float = field(default=math.nan, init=False)
    """Loss of the first step."""
    lowest: float = field(default=math.inf, init=False)
    """Lowest running level so far."""
    level: float = field(default=math.nan, init=False)
    """Running level of the loss."""

    def diverged(self, loss: float) -> bool:
        """Take in the next step's loss; return whether the training has diverged with it."""
        if math.isnan(self.level):
            self.first = self.level = loss
        self.level = LEVEL_KEEPS * self.level + (1 - LEVEL_KEEPS) * loss
        self.lowest = min(self.lowest, self.level)
        return self.level > self.ratio * self.lowest and self.level >= max(self.first, self.untaught)
