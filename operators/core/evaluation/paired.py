"""Two models on the same rows, row by row: what got better, what got worse, and whether chance explains it."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pyarrow.parquet as pq
from scipy.stats import binomtest

from operators.core.errors import DataError
from operators.core.manifest import Manifest
from operators.core.storage import Store


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


def compare(store: Store, evaluation: Manifest, reference: Manifest) -> Paired:
    """Return how an evaluation's answers differ from another's on the same rows.

    Raises:
        DataError: The two are of other rows.
    """
    ids, own = _rights(store, evaluation)
    others, theirs = _rights(store, reference)
    if ids != others:
        raise DataError("two evaluations to be compared are of other rows: evaluate both on one data set")
    both = list(zip(ids, own, theirs, strict=True))
    return Paired(
        better=sum(right and not was for _, right, was in both),
        worse=tuple(row for row, right, was in both if was and not right),
    )


def _rights(store: Store, evaluation: Manifest) -> tuple[list[str], list[bool]]:
    """Return the ids of an evaluation's rows, and which of them it has right."""
    data = io.BytesIO(store.read(evaluation.file("predictions.parquet")))
    table = pq.read_table(data, columns=["id", "label", "predicted"])
    pairs = zip(table["label"].to_pylist(), table["predicted"].to_pylist(), strict=True)
    return table["id"].to_pylist(), [label == predicted for label, predicted in pairs]
