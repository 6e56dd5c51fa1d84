"""Metrics agree with scikit-learn, and pictures follow from their numbers alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from operators.core.evaluation.picture import confusion_png
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


def test_a_picture_of_equal_numbers_has_equal_bytes() -> None:
    """Nothing that varies, no version and no date, is written into the picture."""
    first = confusion_png([[8, 1], [2, 9]], ["ham", "spam"])

    assert first == confusion_png([[8, 1], [2, 9]], ["ham", "spam"])
    assert first.startswith(b"\x89PNG") and b"atplotlib" not in first
