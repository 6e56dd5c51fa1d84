"""Our own requests: the same texts asked of the candidate and of what is live, taking turns at being first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np

from operators.core.deployment.client import Answer, Server
from operators.core.deployment.comparison import SLOW_PART, Arm
from operators.core.deployment.golden import Golden
from operators.core.labels import names_in

PAIRS = 20
"""Texts of a block."""


@dataclass(slots=True)
class Asked:
    """What the candidate answered to golden requests, by row."""

    rows: set[str] = field(default_factory=set)
    otherwise: set[str] = field(default_factory=set)
    """Rows whose answer is not the evaluation's."""

    def note(self, golden: Golden, answer: Answer) -> None:
        """Take in an answer; a failure is none."""
        if answer.label is not None:
            self.rows.add(golden.text)
            if answer.label != golden.label:
                self.otherwise.add(golden.text)


class OwnRequests:
    """Asks golden texts of two versions, server by server."""

    def __init__(
        self,
        servers: Sequence[Server],
        golden: Sequence[Golden],
        *,
        candidate: str,
        live: str,
        slack: float,
    ) -> None:
        """Ask nothing yet.

        Args:
            servers: Every server, asked in turn.
            golden: What to ask, again from the beginning when all was asked.
            candidate: A version.
            live: What it is compared with.
            slack: How many times slower than the live one it may be.
        """
        self._next: Iterator[tuple[Server, Golden]] = zip(cycle(servers), cycle(_offset(golden, len(servers))))
        self._versions, self._task, self._slack = (candidate, live), golden[0].task, slack
        self._slow_seconds: float | None = None
        self._count = 0
        self.asked = Asked()

    def block(self) -> tuple[Arm, Arm] | None:
        """Ask a block; return what candidate and live version did, None for the first one, which says what is slow."""
        pairs = [pair for pair in (self._pair() for _ in range(PAIRS)) if not any(one.is_refused for one in pair)]
        if not pairs:
            return None
        if self._slow_seconds is None:
            self._slow_seconds = float(np.quantile([live.seconds for _, live in pairs], 1 - SLOW_PART))
            return None
        slow = self._slow_seconds
        return self._arm([ours for ours, _ in pairs], slow * self._slack), self._arm([live for _, live in pairs], slow)

    def _pair(self) -> tuple[Answer, Answer]:
        server, golden = next(self._next)
        self._count += 1
        order = (0, 1) if self._count % 2 else (1, 0)
        found = {n: server.infer(golden.text, f"own-{self._count}-{n}", self._versions[n]) for n in order}
        self.asked.note(golden, found[0])
        return found[0], found[1]

    def _arm(self, answers: Sequence[Answer], slow_seconds: float) -> Arm:
        given = [one for one in answers if one.label is not None]
        labels: dict[str, float] = {}
        for one in given:
            for name in set(names_in(one.label or "", self._task)) or {""}:
                labels[name] = labels.get(name, 0.0) + 1
        slow = sum(one.seconds > slow_seconds for one in given)
        return Arm(answered=len(given), failed=len(answers) - len(given), slow=slow, labels=labels)


def _offset(golden: Sequence[Golden], num_servers: int) -> Sequence[Golden]:
    """Return the texts, some twice, so many that with servers in turn each server is asked each text."""
    texts = list(golden)
    while math.gcd(len(texts), num_servers) > 1:
        texts.append(texts[0])
    return texts
