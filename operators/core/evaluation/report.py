"""The document that an evaluation makes of a model's answers; the page for people shows the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from operators.core.evaluation.calibration import calibrate
from operators.core.evaluation.outcomes import outcomes
from operators.core.evaluation.slices import slice_rows
from operators.core.models.classifier import Answer
from operators.core.models.metrics import Metrics
from operators.core.training.rows import LabelledRows

MISTAKES = 20


def describe(
    rows: LabelledRows,
    answers: Sequence[Answer],
    metrics: Metrics,
    columns: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Return what is told of a model's answers on test rows: figures, ids and labels, nothing of a text.

    Args:
        rows: The test rows.
        answers: To each, the model's.
        metrics: Made of these.
        columns: Further columns to slice by.
    """
    fared = outcomes(rows.task, rows.labels, [answer.label for answer in answers])
    whole = fared.estimate()
    is_right = np.array([label == answer.label for label, answer in zip(rows.labels, answers, strict=True)])
    calibration = calibrate([answer.score for answer in answers], is_right)
    return {
        **dataclasses.asdict(metrics),
        "labels": list(rows.label_names),
        "score_range": [whole.low, whole.high] if whole else [0.0, 1.0],
        "calibration_error": calibration.error,
        "calibration": dataclasses.asdict(calibration)["bins"],
        "slices": [dataclasses.asdict(one) for one in slice_rows(fared, rows, columns)],
        "surest_mistakes": _surest_mistakes(rows, answers),
    }


def _surest_mistakes(rows: LabelledRows, answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Return the wrong answers of the highest scores: where labels are wrong, they are found here first."""
    wrong = [one for one in zip(rows.ids, rows.labels, answers, strict=True) if one[1] != one[2].label]
    return [
        {"id": row_id, "label": label, "predicted": answer.label, "score": answer.score}
        for row_id, label, answer in sorted(wrong, key=lambda one: (-one[2].score, one[0]))[:MISTAKES]
    ]
