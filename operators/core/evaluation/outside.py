"""Whether a model is less sure of texts that belong to none of its labels: it has to name one all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import mannwhitneyu

from operators.core.evaluation.outcomes import wilson
from operators.core.models.classifier import Classifier

KEPT_SHARE = 0.95
"""The part of the test rows that a threshold on the score would let through."""


@dataclass(frozen=True, slots=True)
class Outside:
    """How scores of texts from outside lie to those of the test rows."""

    texts: int
    auroc: float
    """How likely a test row has the higher one of two scores; 0.5 tells nothing, 1 all."""
    threshold: float
    """The score that 95 of 100 test rows reach."""
    passed: float
    """The share of texts from outside that reach it too."""
    low: float
    high: float
    """The range of true shares that goes with it."""


def look_outside(classifier: Classifier, texts: Sequence[str], scores: Sequence[float]) -> Outside | None:
    """Return how sure a model is of texts from outside, beside its scores of test rows; None for no texts.

    Source: D. Hendrycks, K. Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples (2017).
    """
    if not texts:
        return None
    others = np.array([answer.score for answer in classifier.answers(texts)])
    threshold = float(np.quantile(scores, 1 - KEPT_SHARE, method="lower"))
    passed = int((others >= threshold).sum())
    auroc = float(mannwhitneyu(scores, others).statistic) / (len(scores) * len(texts))
    return Outside(len(texts), auroc, threshold, passed / len(texts), *wilson(passed, len(texts)))
