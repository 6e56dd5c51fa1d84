"""Watching a candidate: asked beside what is live until the comparison comes to a verdict, or time is over."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from scipy.stats import binom

from operators.core.deployment.callers import CallersRequests
from operators.core.deployment.client import Server
from operators.core.deployment.comparison import Arm, StepComparison, Tolerances, Verdict
from operators.core.deployment.golden import Golden, is_another_model
from operators.core.deployment.own_requests import Asked, OwnRequests
from operators.core.deployment.scrape import Copied, Sample, quantile, summed
from operators.core.deployment.spec import DeploymentSpec
from operators.core.errors import HealthCheckFailed

BLOCK_SECONDS = 0.25
"""Between two looks at the counters, at least."""
SHADOW_FALSE_ALARM = 0.001


class ProvenWorse(HealthCheckFailed):
    """Evidence speaks against the candidate: not want of time, of requests or of metrics."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two versions on the same servers, and how they are compared."""

    servers: Sequence[Server]
    candidate: str
    live: str
    golden: Sequence[Golden]
    spec: DeploymentSpec

    @property
    def golden_tests(self) -> int:
        """Tests of golden requests that a release makes: on each server, and in each step."""
        return len(self.servers) + len(self.spec.shares) + 2

    def own_requests(self) -> OwnRequests:
        """Return the requests of our own of one step."""
        slack = self.spec.max_slowdown
        return OwnRequests(self.servers, self.golden, candidate=self.candidate, live=self.live, slack=slack)


def check_golden(server: Server, version: str, golden: Sequence[Golden], tests: int) -> None:
    """Return if a version on a server gives the labels that its evaluation gave, but for what chance may turn.

    Args:
        server: The server.
        version: A version that it holds.
        golden: Each is asked once.
        tests: How many such tests the release makes.

    Raises:
        HealthCheckFailed: It is another model, or gives no answer.
    """
    asked = Asked()
    for index, one in enumerate(golden):
        answer = server.infer(one.text, f"golden-{version}-{index}", version, patient=True)
        if answer.label is None:
            raise HealthCheckFailed(
                f"{version} on {server.url} has no answer ({answer.status}) to a golden request: read the server's log"
            )
        asked.note(one, answer)
    _check_asked(version, asked, tests, f" on {server.url}")


def watch(pair: Pair, share: float) -> dict[str, Any]:
    """Let a candidate answer its share, and return what was compared once it passes.

    Raises:
        HealthCheckFailed: It is worse, came to no verdict in time, or nothing was counted of it.
    """
    spec = pair.spec
    tolerances = Tolerances(errors=spec.tolerated_errors, shift=spec.max_shift)
    step = StepComparison(tolerances, num_steps=len(spec.shares) + 2, min_sample=spec.min_sample)
    own = pair.own_requests()
    before = [server.scrape().everything.get(pair.candidate, Sample()) for server in pair.servers]
    callers = CallersRequests(
        pair.servers, lambda scrape: scrape.callers, candidate=pair.candidate, live=pair.live, slack=spec.max_slowdown
    )
    begun = time.monotonic()
    while True:
        block_begun = time.monotonic()
        if (block := own.block()) is not None:
            step.own.add(*block)
        _check_asked(pair.candidate, own.asked, pair.golden_tests, "")
        time.sleep(max(0.0, block_begun + BLOCK_SECONDS - time.monotonic()))
        step.callers.add(*callers.block())
        part = (time.monotonic() - begun) / spec.step_seconds if spec.step_seconds else 1.0
        verdict = step.verdict(min(1.0, part))
        if verdict is Verdict.FAILS:
            raise ProvenWorse(f"{pair.candidate} at {share:.0%}: {_proven(step)}")
        if verdict is Verdict.PASSES and time.monotonic() - begun >= spec.watch_seconds:
            break
        if part >= 1:
            raise HealthCheckFailed(f"{pair.candidate} at {share:.0%}: {_open(step, spec)}")
    _check_counted(pair, before)
    return {"own": _figures(step.own.candidate, step.own.baseline),
            "callers": _figures(step.callers.candidate, step.callers.baseline)}  # fmt: skip


def watch_shadow(pair: Pair) -> dict[str, float]:
    """Let a candidate answer copies of callers' requests until enough were compared; return what came of it.

    Where too few call, the time of a step ends it: the shares that follow have a sample of our own.

    Raises:
        HealthCheckFailed: It breaks or is slow on the copies, or answers too many of them otherwise.
    """
    spec, begun = pair.spec, time.monotonic()
    step = StepComparison(
        Tolerances(errors=spec.tolerated_errors, shift=spec.max_shift),
        num_steps=len(spec.shares) + 2, min_sample=spec.min_sample,
    )  # fmt: skip
    copies = CallersRequests(
        pair.servers, lambda scrape: scrape.shadow, candidate=pair.candidate, live=pair.live, slack=spec.max_slowdown
    )
    while copies.candidate.answered < spec.shadow_sample and time.monotonic() - begun < spec.step_seconds:
        time.sleep(BLOCK_SECONDS)
        step.callers.add(*copies.block())
        if step.verdict(0.0) is Verdict.FAILS:
            raise ProvenWorse(f"{pair.candidate} in shadow: {_proven(step)}")
    copied = reduce(Copied.plus, (server.scrape().copied.get(pair.candidate, Copied()) for server in pair.servers))
    texts = copied.alike + copied.otherwise
    if binom.sf(copied.otherwise - 1, texts, spec.max_shift) < SHADOW_FALSE_ALARM:
        raise ProvenWorse(
            f"{pair.candidate} in shadow answers {copied.otherwise:g} of {texts:g} texts otherwise than {pair.live}: "
            f"more than the {spec.max_shift:.0%} that max_shift grants"
        )
    seconds = quantile(copies.candidate, 0.5)
    return {"copies": copies.candidate.answered, "texts": texts, "differing": copied.otherwise, "p50_seconds": seconds}


def _check_asked(version: str, asked: Asked, tests: int, where: str) -> None:
    """Return if golden requests were answered as they were when the model was evaluated."""
    if is_another_model(len(asked.rows), len(asked.otherwise), tests):
        raise ProvenWorse(
            f"{version}{where} answers {len(asked.otherwise)} of {len(asked.rows)} golden requests otherwise than its "
            "evaluation has them: the server does not run the model that was judged"
        )


def _check_counted(pair: Pair, before: Sequence[Sample]) -> None:
    """Return if the servers counted what was asked of the candidate, and it kept the absolute limit.

    Raises:
        HealthCheckFailed: Nothing was counted (absent figures are no good figures), or it is too slow.
    """
    looks = [server.scrape().everything.get(pair.candidate, Sample()) for server in pair.servers]
    counted = summed([now.since(old) for now, old in zip(looks, before, strict=True)])
    if counted.answered == 0:
        raise HealthCheckFailed(
            f"the servers' metrics have nothing of {pair.candidate}, which was asked: without them nothing passes"
        )
    p99 = quantile(counted, 0.99)
    if p99 > pair.spec.max_p99_seconds:
        raise HealthCheckFailed(
            f"{pair.candidate} needs {p99:.3f} s at the 99th percentile, at most {pair.spec.max_p99_seconds:g} s are "
            "allowed: choose a smaller candidate or a wider limit"
        )


def _proven(step: StepComparison) -> str:
    """Say what is proven, with the figures that prove it."""
    told = []
    for kind, comparison in (("callers'", step.callers), ("our own", step.own)):
        ours, theirs = comparison.candidate, comparison.baseline
        for name, is_worse in comparison.failing().items():
            if is_worse:
                told.append(
                    f"{_WORDS[name]} {_compared(name, ours)}, the live one {_compared(name, theirs)} ({kind} requests)"
                )
    return "; ".join(told)


_WORDS = {"errors": "it fails on", "latency": "it is slow on", "predictions": "its labels are"}


def _compared(metric: str, arm: Arm) -> str:
    """Return a metric of one version in words."""
    if metric == "predictions":
        total = max(1.0, float(sum(arm.labels.values())))
        most = sorted(arm.labels.items(), key=lambda item: -item[1])[:3]
        return ", ".join(f"{count / total:.0%} {name}" for name, count in most) or "none"
    hits, trials = (arm.failed, arm.asked) if metric == "errors" else (arm.slow, arm.answered)
    return f"{hits:g} of {trials:g}"


def _open(step: StepComparison, spec: DeploymentSpec) -> str:
    ours = step.callers.candidate.asked + step.own.candidate.asked
    return (
        f"no verdict after {spec.step_seconds:g} s and {ours:g} of its answers (at least {spec.min_sample}). Errors: "
        f"{_compared('errors', step.own.candidate.plus(step.callers.candidate))}, the live version's "
        f"{_compared('errors', step.own.baseline.plus(step.callers.baseline))}. Give a step more time (step_seconds), "
        "or look at why so many requests fail or are slow"
    )


def _figures(candidate: Arm, baseline: Arm) -> dict[str, dict[str, float]]:
    return {
        name: {"asked": float(arm.asked), "failed": float(arm.failed), "slow": float(arm.slow)}
        for name, arm in (("candidate", candidate), ("live", baseline))
    }
