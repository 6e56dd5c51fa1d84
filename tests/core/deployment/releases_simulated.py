"""Releases without servers: whole rollouts drawn at random, thousands beside each other, judged by the real code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.core.deployment.comparison import Arm, StepComparison, Tolerances
from operators.core.deployment.evidence import Numbers

SHARES = (0.1, 0.5, 1.0)
TICKS = 60
"""Blocks of a step at most."""
OWN_PAIRS = 50
"""Of a block: texts that we ask of both versions."""
TOLERANCES = Tolerances(errors=0.02, shift=0.2)
MIN_SAMPLE = 150
LABELS = ("a", "b", "c")


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """How a version answers; arrays have one value a release."""

    errors: Numbers | float = 0.0
    slow: Numbers | float = 0.05
    labels: tuple[float, ...] = (0.6, 0.3, 0.1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulated:
    """What became of each release."""

    withdrawn: np.ndarray
    """By metric: whether that was proven."""
    reasons: dict[str, int]
    lasted: np.ndarray
    """A step came to no verdict within its time."""
    asked: np.ndarray
    """Requests that the candidate had been asked, our own included, when it was withdrawn or live."""


def simulate(
    live: Version, candidate: Version, *, releases: int, callers_per_block: int, seed: int, bursts: float = 0.0
) -> Simulated:
    """Return what becomes of releases of one candidate.

    Args:
        live: What it is compared with.
        candidate: What is released.
        releases: How many.
        callers_per_block: Requests that callers send beside 50 pairs of our own.
        seed: Of the draws.
        bursts: How likely a block has both versions slow on most of what they are asked.
    """
    rng = np.random.default_rng(seed)
    withdrawn, lasted = np.zeros(releases, dtype=bool), np.zeros(releases, dtype=bool)
    reasons: dict[str, int] = {}
    total = np.zeros(releases)
    for share in SHARES:
        is_open = ~withdrawn & ~lasted
        step = StepComparison(TOLERANCES, num_steps=len(SHARES), min_sample=MIN_SAMPLE)
        for tick in range(TICKS):
            if not is_open.any():
                break
            stall = np.where(rng.random(releases) < bursts, 0.7, 0.0)
            called = rng.binomial(callers_per_block, share, releases)
            kinds = [(step.own, np.full(releases, OWN_PAIRS), np.full(releases, OWN_PAIRS))]
            if callers_per_block:
                kinds.append((step.callers, called, callers_per_block - called))
            for comparison, ours, theirs in kinds:
                comparison.add(_drawn(rng, candidate, ours, stall), _drawn(rng, live, theirs, stall))
                total += np.where(is_open, ours, 0)
            for name, is_worse in step.failing().items():
                is_new = is_worse & is_open & ~withdrawn
                reasons[name] = reasons.get(name, 0) + int(is_new.sum())
                withdrawn |= is_new
            is_open &= ~withdrawn & ~step.passing((tick + 1) / TICKS)
        lasted |= is_open
    return Simulated(withdrawn=withdrawn, reasons=reasons, lasted=lasted, asked=total)


def _drawn(rng: np.random.Generator, version: Version, asked: np.ndarray, stall: np.ndarray) -> Arm:
    failed = rng.binomial(asked, version.errors)
    answered = asked - failed
    slow = rng.binomial(answered, np.maximum(version.slow, stall))
    labels = rng.multinomial(answered, version.labels)
    return Arm(
        answered=answered.astype(float),
        failed=failed.astype(float),
        slow=slow.astype(float),
        labels={name: labels[:, n].astype(float) for n, name in enumerate(LABELS)},
    )
