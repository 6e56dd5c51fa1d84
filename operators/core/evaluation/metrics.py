"""Metrics of a classifier, in plain counts: no library's idea of what an absent class is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """How one label fared; a ratio of nothing to nothing is 0."""

    label: str
    rows: int
    """Rows that truly carry the label."""
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """How a classifier fared on some rows."""

    accuracy: float
    macro_f1: float
    """Mean F1 over the labels, each counting the same."""
    confusion: list[list[int]]
    """Rows by (true label, predicted label)."""
    by_class: list[ClassMetrics]


def confusion_matrix(labels: Sequence[int] | Ints, predicted: Sequence[int] | Ints, num_labels: int) -> Ints:
    """Return row counts by (true label, predicted label), shape (num_labels, num_labels)."""
    pairs = np.asarray(labels, dtype=np.int64) * num_labels + np.asarray(predicted, dtype=np.int64)
    return np.bincount(pairs, minlength=num_labels**2).reshape(num_labels, num_labels)


def measure(labels: Sequence[int] | Ints, predicted: Sequence[int] | Ints, names: Sequence[str]) -> Metrics:
    """Return accuracy, macro F1 and each label's figures.

    Args:
        labels: True label numbers, at least one.
        predicted: Predicted label numbers, as many.
        names: Label names by number.
    """
    matrix = confusion_matrix(labels, predicted, len(names))
    hits, true, claimed = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    by_class = [
        ClassMetrics(
            label=name,
            rows=int(true[i]),
            precision=_ratio(hits[i], claimed[i]),
            recall=_ratio(hits[i], true[i]),
            f1=_ratio(2 * hits[i], true[i] + claimed[i]),
        )
        for i, name in enumerate(names)
    ]
    macro_f1 = sum(item.f1 for item in by_class) / len(by_class)
    return Metrics(_ratio(hits.sum(), matrix.sum()), macro_f1, matrix.tolist(), by_class)


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0
