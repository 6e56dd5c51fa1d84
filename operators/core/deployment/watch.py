"""Watching a candidate: golden requests of our own and the counters of everyone's, against the limits."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from itertools import cycle, islice

from operators.core.deployment.client import Sample, Server
from operators.core.deployment.golden import Golden
from operators.core.deployment.spec import DeploymentSpec
from operators.core.errors import HealthCheckFailed


def check_golden(server: Server, version: str, golden: Sequence[Golden]) -> None:
    """Prove that a version gives on a server the labels that its evaluation gave.

    Raises:
        HealthCheckFailed: One differs, or there is no answer.
    """
    for index, one in enumerate(golden):
        _expect(server, version, one, f"golden-{version}-{index}")


def watch(
    servers: Sequence[Server],
    version: str,
    golden: Sequence[Golden],
    before: Sequence[Mapping[str, Sample]],
    spec: DeploymentSpec,
) -> None:
    """Let a candidate answer for a while, and return only if it stayed within the limits.

    Args:
        servers: Every server.
        version: The candidate.
        golden: What to ask it.
        before: What each server had counted before the candidate got its share.
        spec: How long, and the limits.

    Raises:
        HealthCheckFailed: A golden request was answered wrongly, or errors or the 99th percentile exceed the limit.
    """
    begun, pause = time.monotonic(), spec.watch_seconds / spec.golden_requests
    for index, one in enumerate(islice(cycle(golden), spec.golden_requests)):
        for server in servers:
            _expect(server, version, one, f"golden-{version}-{index}")
        time.sleep(max(0.0, begun + (index + 1) * pause - time.monotonic()))
    after = [server.samples().get(version, Sample()) for server in servers]
    judge(version, [_since(old.get(version, Sample()), new) for old, new in zip(before, after, strict=True)], spec)


def judge(version: str, samples: Sequence[Sample], spec: DeploymentSpec) -> None:
    """Return if the counters of all servers together lie within the limits.

    Raises:
        HealthCheckFailed: They do not, or nothing was counted: absent figures are no good figures.
    """
    answered, failed = sum(one.answered for one in samples), sum(one.failed for one in samples)
    if answered + failed == 0:
        raise HealthCheckFailed(f"{version} was asked nothing while it was watched: are its metrics scraped from it?")
    rate = failed / (answered + failed)
    if rate > spec.max_error_rate:
        raise HealthCheckFailed(
            f"{version} failed on {failed:g} of {answered + failed:g} requests ({rate:.2%}, at most "
            f"{spec.max_error_rate:.2%} may): read the servers' log for what broke"
        )
    p99 = quantile(samples, 0.99)
    if p99 > spec.max_p99_seconds:
        raise HealthCheckFailed(
            f"{version} needs {p99:.3f} s at the 99th percentile, at most {spec.max_p99_seconds:g} s are allowed: "
            "choose a smaller candidate or a wider limit"
        )


def quantile(samples: Sequence[Sample], part: float) -> float:
    """Return a quantile of the answering time in seconds, linear within its bucket as Prometheus has it."""
    merged: dict[float, float] = {}
    for sample in samples:
        for bound, count in sample.buckets:
            merged[bound] = merged.get(bound, 0.0) + count
    bounds = sorted(merged)
    if not bounds or merged[bounds[-1]] == 0:
        return 0.0
    rank, low, below = part * merged[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if merged[bound] >= rank:
            return low if math.isinf(bound) else low + (bound - low) * (rank - below) / (merged[bound] - below)
        low, below = bound, merged[bound]
    return low


def _since(old: Sample, new: Sample) -> Sample:
    """Return what was counted between two scrapes; a server that restarted counts from zero."""
    if new.answered < old.answered or new.failed < old.failed:
        return new
    earlier = dict(old.buckets)
    return Sample(
        answered=new.answered - old.answered,
        failed=new.failed - old.failed,
        buckets=tuple((bound, count - earlier.get(bound, 0.0)) for bound, count in new.buckets),
    )


def _expect(server: Server, version: str, golden: Golden, request_id: str) -> None:
    answer = server.infer(golden.text, request_id, version)
    if answer.label != golden.label:
        raise HealthCheckFailed(
            f"{version} on {server.url} answers a golden request with {answer.label!r} where its evaluation has "
            f"{golden.label!r}: the server does not run the model that was judged"
        )
