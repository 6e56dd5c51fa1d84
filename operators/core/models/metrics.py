"""Metrics of a model's answers, in plain counts: no library's idea of what an absent class is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from operators.core.labels import Task, decode_spans

Measure = Literal["accuracy", "span_f1"]
Ints = npt.NDArray[np.int64]
NO_SPAN = "(none)"
"""What stands for a span that only one side has, in the confusion of spans."""


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """How one name fared; a ratio of nothing to nothing is 0."""

    label: str
    rows: int
    """Rows, or spans, that truly carry the name."""
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """How a model fared on some rows."""

    measure: Measure
    """What the score is: the share of texts with the right label, or F1 of spans with the right borders and name."""
    score: float
    macro_f1: float
    """Mean F1 over the names, each counting the same."""
    confusion: list[list[int]]
    """Texts, or spans, by (true, predicted)."""
    axis: list[str]
    """The names of the confusion's rows and columns: the labels, and for spans `NO_SPAN` behind them."""
    by_class: list[ClassMetrics]

    @property
    def facts(self) -> dict[str, Any]:
        """What a manifest says of it."""
        return {"measure": self.measure, "score": self.score, self.measure: self.score, "macro_f1": self.macro_f1}


def measure(task: Task, labels: Sequence[str], predicted: Sequence[str], names: Sequence[str]) -> Metrics:
    """Return how predicted labels compare with true ones.

    Args:
        task: What the labels are for.
        labels: True labels, at least one.
        predicted: Predicted labels, as many.
        names: The names that labels have.
    """
    return _MEASURES[task](labels, predicted, names)


def _measure_texts(labels: Sequence[str], predicted: Sequence[str], names: Sequence[str]) -> Metrics:
    matrix = _confusion(zip(labels, predicted, strict=True), names)
    by_class = _by_class(matrix, names)
    score = _ratio(np.trace(matrix), matrix.sum())
    return Metrics("accuracy", score, _mean_f1(by_class), matrix.tolist(), list(names), by_class)


def _measure_spans(labels: Sequence[str], predicted: Sequence[str], names: Sequence[str]) -> Metrics:
    """Return the strict measure: a span counts if its start, its end and its name are right."""
    axis = [*names, NO_SPAN]
    rows = zip(labels, predicted, strict=True)
    matrix = _confusion((pair for label, claim in rows for pair in _pairs(label, claim)), axis)
    by_class = _by_class(matrix, axis)[:-1]
    hits, true, claimed = np.trace(matrix), matrix[:-1].sum(), matrix[:, :-1].sum()
    return Metrics("span_f1", _ratio(2 * hits, true + claimed), _mean_f1(by_class), matrix.tolist(), axis, by_class)


_MEASURES: dict[Task, Callable[[Sequence[str], Sequence[str], Sequence[str]], Metrics]] = {
    "text_classification": _measure_texts,
    "token_classification": _measure_spans,
}


def _pairs(label: str, claim: str) -> Iterator[tuple[str, str]]:
    """Yield the true and the predicted name of every span that either label has."""
    true, claimed = ({(s.start, s.end): s.name for s in decode_spans(one)} for one in (label, claim))
    for place in {**true, **claimed}:
        yield true.get(place, NO_SPAN), claimed.get(place, NO_SPAN)


def _confusion(pairs: Iterable[tuple[str, str]], names: Sequence[str]) -> Ints:
    """Return counts by (true name, predicted name), shape (names, names)."""
    numbers = {name: number for number, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), dtype=np.int64)
    for true, predicted in pairs:
        matrix[numbers[true], numbers[predicted]] += 1
    return matrix


def _by_class(matrix: Ints, names: Sequence[str]) -> list[ClassMetrics]:
    hits, true, claimed = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    return [
        ClassMetrics(
            label=name,
            rows=int(true[i]),
            precision=_ratio(hits[i], claimed[i]),
            recall=_ratio(hits[i], true[i]),
            f1=_ratio(2 * hits[i], true[i] + claimed[i]),
        )
        for i, name in enumerate(names)
    ]


def _mean_f1(by_class: Sequence[ClassMetrics]) -> float:
    return sum(item.f1 for item in by_class) / len(by_class)


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0
