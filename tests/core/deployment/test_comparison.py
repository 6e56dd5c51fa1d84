"""The sequential comparison: how often it is wrong about good candidates, and how soon it is right about bad ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from operators.core.deployment.comparison import Arm, Comparison, StepComparison, Tolerances, Verdict
from operators.core.deployment.evidence import Counts, Evidence
from tests.core.deployment.releases_simulated import TOLERANCES, Simulated, Version, simulate

GOOD = Version(slow=0.1)


def test_of_10_000_good_releases_less_than_one_in_a_hundred_is_withdrawn() -> None:
    """By evidence or because time ran out: with and without errors, callers, and bursts that slow both versions."""
    found = [
        simulate(live, live, releases=1250, callers_per_block=callers, seed=seed, bursts=bursts)
        for seed, (live, callers, bursts) in enumerate(
            itertools.product((GOOD, Version(errors=0.005, slow=0.1)), (0, 60), (0.0, 0.1))
        )
    ]
    withdrawn, lasted = (np.concatenate([getattr(one, name) for one in found]) for name in ("withdrawn", "lasted"))

    assert len(withdrawn) == 10_000
    assert withdrawn.mean() + lasted.mean() < 0.01


@pytest.mark.parametrize(
    ("candidate", "metric", "asked"),
    [
        (Version(errors=0.03, slow=0.1), "errors", 800),
        (Version(slow=0.95), "latency", 75),
        (Version(slow=0.1, labels=(0.1, 0.3, 0.6)), "predictions", 600),
    ],
    ids=["3 % errors", "four times slower", "other labels"],
)
@pytest.mark.parametrize("callers", [0, 200])
def test_bad_candidates_are_caught(candidate: Version, metric: str, asked: int, callers: int) -> None:
    """At least 99 in 100 never go live, half of them after no more requests than stated, for the right reason."""
    found = simulate(GOOD, candidate, releases=400, callers_per_block=callers, seed=1)

    assert (found.withdrawn | found.lasted).mean() >= 0.99
    assert found.reasons[metric] >= 0.98 * found.withdrawn.sum()
    assert np.median(found.asked[found.withdrawn]) <= asked


@pytest.mark.slow
def test_the_false_rollback_rate_at_the_edge() -> None:
    """10,000 releases on a platform that fails on 2 % of its requests: evidence against fewer than 1 % all the same."""
    live = Version(errors=0.02, slow=0.1)
    found: Simulated = simulate(live, live, releases=10_000, callers_per_block=100, seed=3)

    assert found.withdrawn.mean() < 0.01


@pytest.mark.parametrize("margin", [0.0, 0.1, -0.1])
@pytest.mark.parametrize(("num_candidate", "num_baseline"), [(1, 1), (3, 12), (12, 3)])
def test_a_block_s_evidence_has_a_mean_of_at_most_one(margin: float, num_candidate: int, num_baseline: int) -> None:
    """Summed over every outcome of a block, for every pair of rates on and inside the null: what makes it evidence."""
    outcomes = list(itertools.product(range(num_candidate + 1), range(num_baseline + 1)))
    values = []
    for ours, theirs in outcomes:
        evidence = Evidence(margin=margin, odds=(2.0, 16.0), expected=0.3, learns_from_both=False)
        evidence.add(Counts(num_candidate, ours), Counts(num_baseline, theirs))
        values.append(math.exp(evidence.log))
    for base in np.linspace(0, 1, 21):
        for rate in np.linspace(0, min(1.0, max(0.0, base + margin)), 5):
            if rate > base + margin:
                continue
            chances = [
                binom.pmf(ours, num_candidate, rate) * binom.pmf(theirs, num_baseline, base)
                for ours, theirs in outcomes
            ]

            assert float(np.dot(chances, values)) <= 1 + 1e-9


def test_without_a_concurrent_baseline_there_is_no_evidence() -> None:
    """A block that only one version was asked in says nothing, however it went."""
    evidence = Evidence(margin=0.0, odds=(16.0,), expected=0.001, learns_from_both=True)
    evidence.add(Counts(1000, 900), Counts(0, 0))
    evidence.add(Counts(0, 0), Counts(1000, 0))

    assert evidence.log == 0.0


def test_evidence_does_not_depend_on_how_requests_fall_into_the_arms() -> None:
    """A caller who sends all of his requests under one id has them in one arm: that alone withdraws nothing."""
    step = StepComparison(TOLERANCES, num_steps=3, min_sample=10)
    for _ in range(50):
        step.callers.add(Arm(answered=95, failed=5, labels={"a": 95}), Arm())

    assert step.verdict(0.5) is Verdict.INCONCLUSIVE


def test_no_requests_never_pass() -> None:
    """Absent figures are no good figures: with nothing asked the verdict stays open to the end."""
    step = StepComparison(TOLERANCES, num_steps=3, min_sample=10)
    for _ in range(100):
        step.own.add(Arm(), Arm())

    assert step.verdict(1.0) is Verdict.INCONCLUSIVE


def test_a_step_waits_for_callers_where_there_are_any() -> None:
    """Our own requests alone pass a step that nobody calls, and not one whose callers meet errors in the candidate."""
    quiet, busy = (StepComparison(TOLERANCES, num_steps=3, min_sample=150) for _ in range(2))
    for _ in range(8):
        for step in (quiet, busy):
            step.own.add(Arm(answered=25, labels={"a": 25}), Arm(answered=25, labels={"a": 25}))
        busy.callers.add(Arm(answered=19, failed=1, labels={"a": 19}), Arm(answered=20, labels={"a": 20}))

    assert (quiet.verdict(0.1), busy.verdict(0.1)) == (Verdict.PASSES, Verdict.INCONCLUSIVE)


def test_one_test_does_for_any_number_of_labels() -> None:
    """Of 80 labels one takes over a third of the answers: the set that grew is found and told from chance."""
    names = [f"label-{number}" for number in range(80)]
    comparison = Comparison(Tolerances(errors=0.02, shift=0.2), tests=6)
    for _ in range(20):
        theirs = dict.fromkeys(names, 1.0)
        ours = {**dict.fromkeys(names, 0.4), names[0]: 48.4}
        comparison.add(Arm(answered=80, labels=ours), Arm(answered=80, labels=theirs))

    assert comparison.failing()["predictions"] and not comparison.failing()["errors"]
