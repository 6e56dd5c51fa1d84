"""Callers' requests as the servers count them: what two versions did with their parts since the last look."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from operators.core.deployment.client import Server
from operators.core.deployment.comparison import SLOW_PART, Arm
from operators.core.deployment.scrape import Sample, Scrape, summed

Choose = Callable[[Scrape], Mapping[str, Sample]]
"""Which requests of a scrape are meant."""


class CallersRequests:
    """Reads the servers' counters block by block; one that is started again meanwhile counts from zero."""

    def __init__(self, servers: Sequence[Server], choose: Choose, *, candidate: str, live: str, slack: float) -> None:
        """Begin to count now.

        Args:
            servers: Every server.
            choose: The kind of requests.
            candidate: A version.
            live: What it is compared with.
            slack: How many times slower than the live one it may be.
        """
        self._servers, self._choose, self._slack = servers, choose, slack
        self._versions = (candidate, live)
        scrapes = [server.scrape() for server in servers]
        self._seen = [choose(one) for one in scrapes]
        self._slow = _slow_from(summed([one.everything.get(live, Sample()) for one in scrapes]), slack)
        self.candidate = Sample()
        """What the candidate did in all."""

    def block(self) -> tuple[Arm, Arm]:
        """Return what candidate and live version did since the last block."""
        looks = [self._choose(server.scrape()) for server in self._servers]
        found: list[Sample] = []
        for version in self._versions:
            pairs = zip(looks, self._seen, strict=True)
            found.append(summed([now.get(version, Sample()).since(old.get(version, Sample())) for now, old in pairs]))
        self._seen = looks
        self.candidate = summed([self.candidate, found[0]])
        if self._slow is None:
            # The block that says what is slow is compared by nothing else either.
            self._slow = _slow_from(found[1], self._slack)
            return Arm(), Arm()
        ours, theirs = (_arm(sample, bound) for sample, bound in zip(found, self._slow, strict=True))
        return ours, theirs


def _slow_from(live: Sample, slack: float) -> tuple[float, float] | None:
    """Return the bounds beyond which candidate and live version count as slow, None where nothing was counted.

    They are bounds of the servers' buckets: the live version's first one that all but a tenth of its answers keep, and
    the candidate's first one that is `slack` times as long.
    """
    if live.answered == 0:
        return None
    bounds = [bound for bound, count in live.buckets if count >= (1 - SLOW_PART) * live.answered]
    theirs = bounds[0]
    ours = next((bound for bound in bounds if bound >= slack * theirs), math.inf)
    return ours, theirs


def _arm(sample: Sample, bound: float) -> Arm:
    return Arm(
        answered=sample.answered, failed=sample.failed, slow=sample.slower_than(bound), labels=dict(sample.labels)
    )
