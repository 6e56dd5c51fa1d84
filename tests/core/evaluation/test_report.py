"""What an evaluation tells of a model's answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from operators.core.evaluation.calibration import calibrate
from operators.core.evaluation.page import render
from operators.core.evaluation.report import describe
from operators.core.models.classifier import Answer
from operators.core.models.metrics import measure
from operators.core.training.rows import LabelledRows

HOSTILE = "<script>alert('label')</script>"


def report_of(labels: list[str], predicted: list[str], *, names: tuple[str, ...] = ("ham", "spam")) -> dict[str, Any]:
    """Return the report of some answers, whose scores fall from row to row."""
    ids = [f"row{number}{HOSTILE}" for number in range(len(labels))]
    texts = ["x" * (number + 1) for number in range(len(labels))]
    rows = LabelledRows(ids=ids, texts=texts, labels=labels, label_names=names, task="text_classification")
    answers = [Answer(label, 1 - 0.001 * number) for number, label in enumerate(predicted)]
    metrics = measure("text_classification", labels, predicted, names)
    facts = {**metrics.facts, "baseline_score": 0.5, "rows": len(labels), "model_format": "onnx"}
    lists = ["easy" if number < len(labels) - 1 else HOSTILE for number in range(len(labels))]
    perturbed = {"name": HOSTILE, "rows": 4, "same": 0.75, "low": 0.3, "high": 0.95, "score": 0.5, "score_before": None}
    outside = {"texts": 60, "auroc": 0.912, "threshold": 0.61, "passed": 0.25, "low": 0.16, "high": 0.37}
    return facts | describe(rows, answers, metrics, {"list": lists}) | {"perturbed": [perturbed], "outside": outside}


def test_slices_part_the_rows_by_label_length_and_column() -> None:
    """Every way of parting holds every row once; each part has its score, its range, and says if it is small."""
    report = report_of(["ham"] * 60 + ["spam"] * 20, ["ham"] * 70 + ["spam"] * 10)
    slices = {(one["by"], one["name"]): one for one in report["slices"]}
    rows = {by: sum(one["rows"] for (way, _), one in slices.items() if way == by) for by in ("label", "length", "list")}

    assert rows == {"label": 80, "length": 80, "list": 80}
    assert [name for by, name in slices if by == "length"] == [
        "up to 20 characters", "21 to 40", "41 to 60", "from 61",
    ]  # fmt: skip
    assert (slices["label", "spam"]["score"], slices["label", "spam"]["is_small"]) == (0.5, True)
    assert slices["label", "spam"]["low"] == pytest.approx(0.2993, abs=1e-4)
    assert (slices["list", HOSTILE]["rows"], slices["label", "ham"]["is_small"]) == (1, False)


def test_texts_of_one_length_are_one_slice() -> None:
    """Quarters that would hold nothing are left out."""
    rows = LabelledRows(
        ids=["a", "b"], texts=["one", "two"], labels=["x", "y"], label_names=("x", "y"), task="text_classification"
    )
    metrics = measure(rows.task, rows.labels, ["x", "x"], rows.label_names)
    report = describe(rows, [Answer("x", 0.9)] * 2, metrics, {})

    assert [one["rows"] for one in report["slices"] if one["by"] == "length"] == [2]


def test_the_calibration_error_is_the_distance_from_scikit_learn_s_curve() -> None:
    """Ten bins of equal width, each weighed by its rows."""
    draw = np.random.default_rng(0)
    scores = draw.random(500)
    is_right = draw.random(500) < scores**2
    found = calibrate(scores.tolist(), is_right)
    right, mean = calibration_curve(is_right, scores, n_bins=10)

    assert np.array([(one.right, one.score) for one in found.bins]) == pytest.approx(np.stack([right, mean], axis=1))
    weights = np.histogram(scores, bins=10, range=(0, 1))[0] / 500
    assert found.error == pytest.approx(float(weights @ np.abs(right - mean)))


def test_the_surest_mistakes_come_first() -> None:
    """Wrong answers alone, by falling score."""
    mistakes = report_of(["ham"] * 4, ["ham", "spam", "ham", "spam"])["surest_mistakes"]

    assert [(one["id"][:4], one["predicted"], one["score"]) for one in mistakes] == [
        ("row1", "spam", 0.999), ("row3", "spam", 0.997),
    ]  # fmt: skip


def test_a_page_runs_nothing_and_fetches_nothing() -> None:
    """Ids, labels and values that are script are shown as text, and the page's own policy forbids scripts and loads."""
    names = ("ham", HOSTILE)
    page = render(report_of(["ham", HOSTILE, "ham"], [HOSTILE, HOSTILE, "ham"], names=names)).decode()

    assert "<script" not in page.lower()
    assert page.count("&lt;script&gt;") >= 6
    assert "default-src 'none'; style-src 'sha256-" in page
    assert not [way for way in ("://", "src=", "href=", "url(", "style=", "@import") if way in page]


def test_a_page_follows_from_its_report() -> None:
    """The same report gives the same bytes; of many labels the page lists what is mistaken most."""
    names = tuple(f"intent{number:02}" for number in range(30))
    report = report_of(list(names), [names[0], *names[:-1]], names=names)

    assert render(report) == render(report)
    assert b"Most often mistaken" in render(report) and b"class=matrix" not in render(report)
