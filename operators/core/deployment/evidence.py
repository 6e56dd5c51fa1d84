"""Evidence, valid however often one looks, that one of two versions that answer at the same time does worse.

A block is what both answered in one stretch of time. Each block multiplies the evidence by an e-variable: a likelihood
ratio whose mean is at most 1 whenever the candidate is not worse. So evidence exceeds 1/p with probability p at most,
at whatever moment somebody stops to look (Ville's inequality), and rates may drift as long as both versions meet them.

Source:
    R. Turner, A. Ly, P. Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for optional
    stopping", J. Statistical Planning and Inference 230 (2024), doi:10.1016/j.jspi.2023.106116; with a margin between
    the two rates: R. Turner, P. Grünwald, arXiv:2203.09785.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

HALVINGS = 20
"""Of the interval in which the nearest null is sought. Evidence is flat there: 1e-6 beside it changes nothing seen."""
PRIOR_TRIALS = 20.0
"""What the first guess of the baseline's rate counts for."""
LOWEST = 1e-4
"""Rates are not taken to be nearer to 0 or 1: one hit would else be proof."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Hits among the trials of one version in one block; arrays hold blocks of many releases."""

    trials: Numbers | float
    hits: Numbers | float

    def of_misses(self) -> Counts:
        """Return the same block with misses counted instead."""
        return Counts(self.trials, self.trials - self.hits)


class Columns(NamedTuple):
    """Counts as arrays whose last axis is for the alternatives."""

    trials: Numbers
    hits: Numbers


class Evidence:
    """Evidence against "the candidate's rate of hits is at most the baseline's plus `margin`"."""

    def __init__(self, *, margin: float, odds: tuple[float, ...], expected: float, learns_from_both: bool) -> None:
        """Start with none.

        Args:
            margin: What is granted, -1 to 1.
            odds: Alternatives that are bet on at once: the candidate's odds of a hit as multiples of the baseline's,
                beyond the margin where that is above 0.
            expected: First guess of the baseline's rate of hits; the blocks correct it.
            learns_from_both: Whether the candidate's blocks correct it, too: where the bet is that both are alike.
        """
        self._margin, self._odds, self._learns_from_both = margin, np.log(np.asarray(odds)), learns_from_both
        self._trials: Numbers = np.asarray(PRIOR_TRIALS)
        self._hits: Numbers = np.asarray(PRIOR_TRIALS * expected)
        self._logs: Numbers = np.zeros(len(odds))

    @property
    def log(self) -> Numbers:
        """Natural logarithm of the evidence: the mean over the alternatives."""
        mean: Numbers = np.logaddexp.reduce(self._logs, axis=-1) - np.log(len(self._odds))
        return mean

    def add(self, candidate: Counts, baseline: Counts) -> None:
        """Take in a block; one in which a version was not asked says nothing."""
        base = _inside(self._hits / self._trials)[..., None]
        anchor = _inside(base + max(self._margin, 0.0))
        bet = _inside(1 / (1 + np.exp(-(np.log(anchor / (1 - anchor)) + self._odds))))
        self._logs = self._logs + _log_e(bet, base, _columns(candidate), _columns(baseline), self._margin)
        # Only now: what is bet on a block must not follow from the block itself.
        for counts in (baseline, candidate) if self._learns_from_both else (baseline,):
            self._trials = self._trials + np.asarray(counts.trials)
            self._hits = self._hits + np.asarray(counts.hits)


def _log_e(bet: Numbers, base: Numbers, candidate: Columns, baseline: Columns, margin: float) -> Numbers:
    """Return the logarithm of a block's e-variable: its likelihood under the bet over that at the nearest null.

    The nearest null is on the boundary, where the candidate's rate is the baseline's plus the margin, and least far
    from the bet in relative entropy. Its derivative is 0 there, and log(1 + x) <= x: so the mean is at most 1 under
    every null, for blocks of any size.
    """
    null = _nearest_null(bet, base, np.maximum(candidate.trials, 1), np.maximum(baseline.trials, 1), margin)
    value = (
        candidate.hits * np.log(bet / (null + margin))
        + (candidate.trials - candidate.hits) * np.log((1 - bet) / (1 - null - margin))
        + baseline.hits * np.log(base / null)
        + (baseline.trials - baseline.hits) * np.log((1 - base) / (1 - null))
    )
    # A rate so near to 1 that nothing lies beyond the margin leaves nothing to bet on.
    says_something = (candidate.trials > 0) & (baseline.trials > 0) & (bet > base + margin)
    compared: Numbers = np.where(says_something, value, 0.0)
    return compared


def _nearest_null(bet: Numbers, base: Numbers, num_candidate: Numbers, num_baseline: Numbers, margin: float) -> Numbers:
    """Return the baseline's rate at the nearest null: where the slope of the relative entropy is 0; it only falls."""
    if margin == 0.0:
        mean: Numbers = (num_candidate * bet + num_baseline * base) / (num_candidate + num_baseline)
        return mean
    low = np.full(np.broadcast_shapes(bet.shape, num_candidate.shape), max(0.0, -margin))
    high = np.full(low.shape, min(1.0, 1.0 - margin))
    for _ in range(HALVINGS):
        null = (low + high) / 2
        shifted = null + margin
        slope = num_candidate * (bet - shifted) / (shifted * (1 - shifted)) + num_baseline * (base - null) / (
            null * (1 - null)
        )
        low, high = np.where(slope > 0, null, low), np.where(slope > 0, high, null)
    middle: Numbers = (low + high) / 2
    return middle


def _inside(rate: Numbers) -> Numbers:
    inside: Numbers = np.clip(rate, LOWEST, 1 - LOWEST)
    return inside


def _columns(counts: Counts) -> Columns:
    """Return the counts with an axis for the alternatives."""
    return Columns(*(np.asarray(side, dtype=np.float64)[..., None] for side in (counts.trials, counts.hits)))
