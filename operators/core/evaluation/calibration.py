"""Whether a model is right as often as it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operators.core.evaluation.outcomes import wilson

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers of about one score."""

    rows: int
    score: float
    """Their mean score."""
    right: float
    """The share of them that is right, whole answers of spans."""
    low: float
    high: float
    """The range of true shares that goes with it."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How scores and shares of right answers go together."""

    error: float
    """Expected calibration error: the mean distance of the two over the answers, 0 to 1."""
    bins: list[Bin]
    """By score, those without answers left out."""


def calibrate(scores: Sequence[float], is_right: npt.NDArray[np.bool_]) -> Calibration:
    """Return how often answers are right by what score they have, in ten bins of equal width.

    Source: C. Guo et al., On Calibration of Modern Neural Networks (2017), section 2.
    """
    given = np.asarray(scores, dtype=np.float64)
    numbers = np.minimum((given * BINS).astype(np.int64), BINS - 1)
    bins = [_bin(given[numbers == one], is_right[numbers == one]) for one in np.unique(numbers)]
    error = sum(one.rows * abs(one.right - one.score) for one in bins) / len(given)
    return Calibration(error, bins)


def _bin(scores: npt.NDArray[np.float64], is_right: npt.NDArray[np.bool_]) -> Bin:
    hits = int(is_right.sum())
    return Bin(len(scores), float(scores.mean()), hits / len(scores), *wilson(hits, len(scores)))
