"""A candidate beside what is live: what both answered at the same time, and the verdict on it so far. No I/O.

Errors, slow answers and labels of two versions are compared as rates, each with evidence that is valid at any time
(`evidence.py`). Requests that callers made and those of our own are compared apart: they may differ in kind, and the
split gives the two versions different mixtures of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial, reduce

import numpy as np
import numpy.typing as npt

from operators.core.deployment.evidence import Counts, Evidence, Numbers

Truths = npt.NDArray[np.bool_]

FALSE_ROLLBACK = 0.005
"""Most that the evidence of a whole release may withdraw of candidates that are as good as what is live."""
FALSE_PASS = 0.05
"""Most that a step lets by of candidates that exceed a tolerance."""
EXPECTED_ERRORS = 0.001
SLOW_PART = 0.1
"""Part of the live version's answers that count as slow: those beyond its own 90th percentile."""
SLOW_TOLERANCE = 0.1
"""By how much the candidate's part of slow answers, beyond the slowdown that is granted, may exceed that."""
WORSE_ODDS = (2.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
SHIFTED_ODDS = (2.0, 8.0)
ALIKE_ODDS = (0.5, 1.0, 4.0)


class Verdict(StrEnum):
    """What a comparison says so far."""

    PASSES = "passes"
    FAILS = "fails"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """What one version did in one block; arrays hold blocks of many releases."""

    answered: Numbers | float = 0.0
    failed: Numbers | float = 0.0
    slow: Numbers | float = 0.0
    """Of those answered: of the live version beyond its 90th percentile, of the candidate beyond what is granted."""
    labels: Mapping[str, Numbers | float] = field(default_factory=dict)
    """Answers with each label, or name of a span."""

    @property
    def asked(self) -> Numbers | float:
        """Requests that came to it."""
        return self.answered + self.failed

    def plus(self, other: Arm) -> Arm:
        """Return both blocks as one."""
        names = {*self.labels, *other.labels}
        return Arm(
            answered=self.answered + other.answered,
            failed=self.failed + other.failed,
            slow=self.slow + other.slow,
            labels={name: self.labels.get(name, 0.0) + other.labels.get(name, 0.0) for name in names},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerances:
    """What a candidate is granted."""

    errors: float
    """By how much the part of its requests that fail may exceed the live version's."""
    shift: float
    """How far its labels may be distributed from the live version's: the largest difference in the part of any set of
    labels (total variation)."""


class Comparison:
    """One step's comparison on requests of one kind."""

    TESTS = 3

    def __init__(self, tolerances: Tolerances, tests: int) -> None:
        """Know nothing yet.

        Args:
            tolerances: What the candidate is granted.
            tests: How many tests the release makes in all; they share what may be withdrawn wrongly.
        """
        self.candidate, self.baseline = Arm(), Arm()
        self._fails_from = math.log(tests / FALSE_ROLLBACK)
        self._passes_from = math.log(1 / FALSE_PASS)
        worse = partial(Evidence, odds=WORSE_ODDS, learns_from_both=False)
        self._worse = {
            "errors": worse(margin=0.0, expected=EXPECTED_ERRORS),
            "latency": worse(margin=0.0, expected=SLOW_PART),
            "predictions": worse(margin=tolerances.shift, expected=0.5, odds=SHIFTED_ODDS),
        }
        # What went well refutes that the candidate exceeds a tolerance.
        alike = partial(Evidence, odds=ALIKE_ODDS, learns_from_both=True)
        self._well = {
            "errors": alike(margin=-tolerances.errors, expected=1 - EXPECTED_ERRORS),
            "latency": alike(margin=-SLOW_TOLERANCE, expected=1 - SLOW_PART),
        }

    def add(self, candidate: Arm, baseline: Arm) -> None:
        """Take in a block that both met at the same time."""
        kinds = {
            "errors": [Counts(arm.asked, arm.failed) for arm in (candidate, baseline)],
            "latency": [Counts(arm.answered, arm.slow) for arm in (candidate, baseline)],
            "predictions": self._of_more_frequent_labels(candidate, baseline),
        }
        for name, (ours, theirs) in kinds.items():
            self._worse[name].add(ours, theirs)
            if name in self._well:
                self._well[name].add(ours.of_misses(), theirs.of_misses())
        self.candidate, self.baseline = self.candidate.plus(candidate), self.baseline.plus(baseline)

    def failing(self) -> dict[str, Truths]:
        """Say by metric whether the candidate is proven worse."""
        return {name: evidence.log >= self._fails_from for name, evidence in self._worse.items()}

    def passing(self) -> Truths:
        """Say whether it is proven to be within the tolerances of errors and latency, and its labels do not lean.

        That labels are distributed alike cannot be proven for all sets of them at once: there it is enough that the
        evidence does not lean to the other side. While it does, the step lasts.
        """
        proven = [evidence.log >= self._passes_from for evidence in self._well.values()]
        return _all([*proven, self._worse["predictions"].log <= 0])

    def is_untroubled(self) -> Truths:
        """Say whether nothing like proof speaks against the candidate: far less is enough than to withdraw it."""
        return _all([evidence.log < self._passes_from for evidence in self._worse.values()])

    def _of_more_frequent_labels(self, candidate: Arm, baseline: Arm) -> list[Counts]:
        """Return how often both answered with a label that the candidate has given more often *so far*.

        Of all sets of labels this one will differ the most, if any does; chosen before the block is looked at, it is a
        set like any other, and one test does for any number of labels.
        """
        hits: list[Numbers | float] = [0.0, 0.0]
        totals = [np.maximum(sum(arm.labels.values(), start=0.0), 1.0) for arm in (self.candidate, self.baseline)]
        for label in {*candidate.labels, *baseline.labels}:
            ours, theirs = (
                arm.labels.get(label, 0.0) / total
                for arm, total in zip((self.candidate, self.baseline), totals, strict=True)
            )
            chosen = np.asarray(ours > theirs, dtype=np.float64)
            hits = [hits[n] + chosen * arm.labels.get(label, 0.0) for n, arm in enumerate((candidate, baseline))]
        trials = [sum(arm.labels.values(), start=0.0) for arm in (candidate, baseline)]
        return [Counts(number, hit) for number, hit in zip(trials, hits, strict=True)]


class StepComparison:
    """All that one step of a release compares: callers' requests, and our own where there are too few of those."""

    def __init__(self, tolerances: Tolerances, *, num_steps: int, min_sample: int) -> None:
        """Know nothing yet.

        Args:
            tolerances: What the candidate is granted.
            num_steps: Steps of the release; each is compared anew, for the load is another one.
            min_sample: Answers of the candidate without which a step does not pass.
        """
        tests = num_steps * 2 * Comparison.TESTS
        self.callers, self.own = (Comparison(tolerances, tests) for _ in range(2))
        self._min_sample = min_sample

    def failing(self) -> dict[str, Truths]:
        """Say by metric whether the candidate is proven worse, on requests of either kind."""
        callers, own = self.callers.failing(), self.own.failing()
        return {name: np.logical_or(callers[name], own[name]) for name in callers}

    def passing(self, part: float) -> Truths:
        """Say whether the step may end well.

        Callers' requests decide where, at their pace, half of the step's time brings a sample of them; else our own do.
        Callers who are too few to prove anything by the end of the time must at least not speak against the candidate.

        Args:
            part: Part of the step's longest time that is over, 0 to 1.
        """
        asked = np.asarray(self.callers.candidate.asked)
        is_called = (asked >= self._min_sample * min(1.0, 2 * part)) & (np.asarray(self.callers.baseline.asked) > 0)
        is_sampled = asked + self.own.candidate.asked >= self._min_sample
        is_heard = self.callers.is_untroubled() if part >= 1 else self.callers.passing()
        return _all([is_sampled, self.own.passing(), is_heard | ~is_called])

    def verdict(self, part: float) -> Verdict:
        """Return the verdict so far on one release; see `passing`."""
        if any(bool(is_worse) for is_worse in self.failing().values()):
            return Verdict.FAILS
        return Verdict.PASSES if bool(self.passing(part)) else Verdict.INCONCLUSIVE


def _all(conditions: Sequence[Truths]) -> Truths:
    return np.asarray(reduce(np.logical_and, conditions))
