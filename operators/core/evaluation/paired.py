"""Two models on the same rows, row by row: what got better, what got worse, and whether chance explains it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq
from scipy.stats import binomtest

from operators.core.errors import DataError
from operators.core.manifest import Manifest
from operators.core.storage import Store

COLUMNS = ("id", "label", "predicted")


@dataclass(frozen=True, kw_only=True, slots=True)
class Paired:
    """How a model's answers differ from another's. A row is right if its whole answer is."""

    better: int
    """Rows that it alone has right."""
    worse: tuple[str, ...]
    """Ids of rows that the other alone has right, in the data set's order."""

    @property
    def chance(self) -> float:
        """How likely two equally good models differ so much to this one's harm: McNemar's exact test, one-sided.

        Source: Q. McNemar, Psychometrika 12 (1947): rows on which both are right, or both wrong, say nothing.
        """
        differing = self.better + len(self.worse)
        return float(binomtest(len(self.worse), differing, alternative="greater").pvalue) if differing else 1.0


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
    return Paired(
        better=sum(own.is_right(row) and not other.is_right(row) for row in places),
        worse=tuple(own.ids[row] for row in places if other.is_right(row) and not own.is_right(row)),
    )


def read_answers(store: Store, evaluation: Manifest) -> Answers:
    """Return the answers of an evaluation."""
    data = io.BytesIO(store.read(evaluation.file("predictions.parquet")))
    ids, labels, predicted = (column.to_pylist() for column in pq.read_table(data, columns=list(COLUMNS)).columns)
    return Answers(ids=ids, labels=labels, predicted=predicted)
