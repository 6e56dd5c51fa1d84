"""What a model got right row by row, and how far chance leaves a score open.

A score from few rows is noise: every one that people see comes with the range of true values that would give it easily.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from operators.core.labels import Task, decode_spans

Ints = npt.NDArray[np.int64]
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score, and the range that holds the true one in 95 of 100 samples."""

    score: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How rows fared, in counts that add up over any part of the rows."""

    task: Task
    hits: Ints
    """What is right, by row: a text's label, or spans that both sides have."""
    claims: Ints
    """What could be: 1 a text; of spans those that either side has."""

    def estimate(self, rows: npt.NDArray[np.bool_] | slice = slice(None)) -> Estimate | None:
        """Return the score on some of the rows, by default all; None where nothing could be right.

        Spans that either side has are right or not, which is a share, and F1 rises with it: its range is the share's.
        """
        hits, claims = int(self.hits[rows].sum()), int(self.claims[rows].sum())
        if not claims:
            return None
        low, high = wilson(hits, claims)
        measured = _SCORES[self.task]
        return Estimate(measured(hits / claims), measured(low), measured(high))


def outcomes(task: Task, labels: Sequence[str], predicted: Sequence[str]) -> Outcomes:
    """Return how predicted labels fare beside true ones, in their order."""
    pairs = list(_COUNTS[task](labels, predicted))
    hits, claims = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Outcomes(task, hits, claims)


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Return the range of true shares that goes with a share of hits.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927): right for few rows too, where all or none are hits.
    """
    found = binomtest(hits, total).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def _count_texts(labels: Sequence[str], predicted: Sequence[str]) -> Iterator[tuple[int, int]]:
    return ((int(label == claim), 1) for label, claim in zip(labels, predicted, strict=True))


def _count_spans(labels: Sequence[str], predicted: Sequence[str]) -> Iterator[tuple[int, int]]:
    for label, claim in zip(labels, predicted, strict=True):
        true, claimed = set(decode_spans(label)), set(decode_spans(claim))
        yield len(true & claimed), len(true | claimed)


_COUNTS: dict[Task, Callable[[Sequence[str], Sequence[str]], Iterator[tuple[int, int]]]] = {
    "text_classification": _count_texts,
    "token_classification": _count_spans,
}
_SCORES: dict[Task, Callable[[float], float]] = {
    "text_classification": lambda share: share,
    "token_classification": lambda share: 2 * share / (1 + share),
}
