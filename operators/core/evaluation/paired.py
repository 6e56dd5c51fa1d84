"""Two models on the same rows, row by row: what got better, what got worse, and whether chance explains it.

How likely two equally good models differ so much, to the one's harm, is asked of what the score counts: of texts by
McNemar's test, which is exact; of spans, of which a row has several, by swapping the models' answers row by row.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy.stats import binomtest

from operators.core.errors import DataError
from operators.core.evaluation.outcomes import Ints, Outcomes, outcomes
from operators.core.manifest import Manifest
from operators.core.storage import Store
from operators.core.training.rows import task_of

COLUMNS = ("id", "label", "predicted")
DRAWS, AT_ONCE = 10_000, 100
"""Ways to swap rows that are drawn, and how many of them are in memory together."""
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Paired:
    """How a model's answers differ from another's. A row is right if its whole answer is."""

    better: int
    """Rows that it alone has right."""
    worse: tuple[str, ...]
    """Ids of rows that the other alone has right, in the data set's order."""
    chance: float
    """How likely two equally good models differ so much to this one's harm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What an evaluation has of each row, in the data set's order."""

    ids: list[str]
    labels: list[str]
    predicted: list[str]

    def is_right(self, row: int) -> bool:
        """Say whether the whole answer to a row is right."""
        return self.labels[row] == self.predicted[row]


def compare(store: Store, evaluation: Manifest, reference: Manifest, rows: Sequence[int] | None = None) -> Paired:
    """Return how an evaluation's answers differ from another's on the same rows.

    Args:
        store: The store.
        evaluation: The model's.
        reference: The other model's.
        rows: Places of the rows to compare; None for all.

    Raises:
        DataError: The two are of other rows.
    """
    own, other = read_answers(store, evaluation), read_answers(store, reference)
    if own.ids != other.ids:
        raise DataError("two evaluations to be compared are of other rows: evaluate both on one data set")
    places = range(len(own.ids)) if rows is None else rows
    better = sum(own.is_right(row) and not other.is_right(row) for row in places)
    worse = tuple(own.ids[row] for row in places if other.is_right(row) and not own.is_right(row))
    dataset = evaluation.input("dataset").manifest
    assert dataset is not None, "an evaluation's rows lie in the store"
    task = task_of(store.manifest(dataset))
    if task == "text_classification":
        return Paired(better=better, worse=worse, chance=chance_of_texts(better, len(worse)))
    fared = [
        outcomes(task, [one.labels[row] for row in places], [one.predicted[row] for row in places])
        for one in (own, other)
    ]
    return Paired(better=better, worse=worse, chance=chance_of_spans(*fared))


def chance_of_texts(better: int, worse: int) -> float:
    """Return how likely a fair coin, thrown once for each row that one model alone has right, shows so many worse.

    Source: Q. McNemar, Psychometrika 12 (1947): rows on which both are right, or both wrong, say nothing.
    """
    differing = better + worse
    return float(binomtest(worse, differing, alternative="greater").pvalue) if differing else 1.0


def chance_of_spans(own: Outcomes, other: Outcomes) -> float:
    """Return the share of ways to swap two models' rows, at random, that leave the one as far below the other in F1.

    The draws are the same for the same rows; the true share lies within 0.002 of one of 0.01.

    Source: A. Yeh, More accurate tests for the statistical significance of result differences (COLING 2000).
    """
    sums = np.array([[one.hits.sum(), one.claims.sum()] for one in (own, other)])
    apart = np.stack([other.hits - own.hits, other.claims - own.claims], axis=1)
    apart = apart[apart.any(axis=1)]
    if not len(apart):
        return 1.0
    draw, so_low = np.random.default_rng(0), 1
    observed = _f1(sums[0]) - _f1(sums[1])
    for _ in range(DRAWS // AT_ONCE):
        # As numbers of double precision, whose products are fast and, of counts, exact.
        moved = (draw.random((AT_ONCE, len(apart))) < 0.5).astype(np.float64) @ apart
        so_low += int((_f1(sums[0] + moved) - _f1(sums[1] - moved) <= observed + _ROUNDING).sum())
    return so_low / (DRAWS + 1)


def _f1(counts: npt.NDArray[np.float64] | Ints) -> npt.NDArray[np.float64]:
    """Return F1 of (hits, spans that either side has) along the last axis."""
    hits, claims = counts[..., 0], counts[..., 1]
    return np.asarray(2 * hits / np.maximum(1, claims + hits), dtype=np.float64)


def read_answers(store: Store, evaluation: Manifest) -> Answers:
    """Return the answers of an evaluation."""
    data = io.BytesIO(store.read(evaluation.file("predictions.parquet")))
    ids, labels, predicted = (column.to_pylist() for column in pq.read_table(data, columns=list(COLUMNS)).columns)
    return Answers(ids=ids, labels=labels, predicted=predicted)
