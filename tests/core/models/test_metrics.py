"""Metrics agree with scikit-learn, and pictures follow from their numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from operators.core.evaluation.picture import confusion_png
from operators.core.labels import LabelledSpan, encode_spans
from operators.core.models.metrics import measure


@pytest.mark.parametrize(("num_labels", "seed"), [(2, 0), (5, 1), (77, 2)])
def test_metrics_are_those_of_scikit_learn(num_labels: int, seed: int) -> None:
    """Accuracy, macro F1, every label's figures and the confusion matrix agree, absent labels included."""
    random = np.random.default_rng(seed)
    labels, predicted = random.integers(0, num_labels, (2, 120))
    names = [f"label_{i}" for i in range(num_labels)]
    metrics = measure("text_classification", [names[i] for i in labels], [names[i] for i in predicted], names)
    every = list(range(num_labels))
    expected = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0.0)

    assert metrics.score == pytest.approx(accuracy_score(labels, predicted))
    assert metrics.macro_f1 == pytest.approx(
        f1_score(labels, predicted, labels=every, average="macro", zero_division=0.0)
    )
    assert metrics.confusion == confusion_matrix(labels, predicted, labels=every).tolist()
    for figures, values in zip(metrics.by_class, zip(*expected, strict=True), strict=True):
        assert (figures.precision, figures.recall, figures.f1, figures.rows) == pytest.approx(values)


SPANS = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.sampled_from(["a", "b"])), unique_by=lambda s: s[0])
ROWS = st.lists(st.tuples(SPANS, SPANS), min_size=1, max_size=5)


@given(rows=ROWS)
def test_the_measure_of_spans_is_strict(rows: list[tuple[list[tuple[int, bool, str]], ...]]) -> None:
    """F1, and each name's figures, are those of sets of (row, start, end, name); the confusion adds up to them."""
    sides = [
        [sorted((4 * n, 4 * n + 2 + wide, name) for n, wide, name in spans) for spans in side]
        for side in zip(*rows, strict=True)
    ]
    labels = [[encode_spans(LabelledSpan(*span) for span in spans) for spans in side] for side in sides]
    true, claimed = ({(n, *span) for n, spans in enumerate(side) for span in spans} for side in sides)
    metrics = measure("token_classification", *labels, ["a", "b"])

    assert metrics.score == pytest.approx(_f1(true, claimed))
    for figures in metrics.by_class:
        of_true, of_claimed = ({span for span in side if span[3] == figures.label} for side in (true, claimed))
        assert (figures.rows, figures.f1) == (len(of_true), pytest.approx(_f1(of_true, of_claimed)))
    assert sum(map(sum, metrics.confusion[:-1])) == len(true)
    assert sum(sum(row[:-1]) for row in metrics.confusion) == len(claimed)


def _f1(true: set[Any], claimed: set[Any]) -> float:
    return 2 * len(true & claimed) / (len(true) + len(claimed)) if true or claimed else 0.0


def test_a_picture_of_equal_numbers_has_equal_bytes() -> None:
    """Nothing that varies, no version and no date, is written into the picture."""
    first = confusion_png([[8, 1], [2, 9]], ["ham", "spam"])

    assert first == confusion_png([[8, 1], [2, 9]], ["ham", "spam"])
    assert first.startswith(b"\x89PNG") and b"atplotlib" not in first
