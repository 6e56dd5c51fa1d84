"""Choosing between candidates, and specs that refuse what cannot be."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from operators.core.compression.choice_page import render
from operators.core.compression.choose_candidate import choose
from operators.core.compression.sample import spread
from operators.core.compression.spec import (
    BudgetSpec,
    CandidateKind,
    CandidateSpec,
    CompressionSpec,
    ExportSpec,
    MeasurementSpec,
    QuantisationSpec,
)
from operators.core.errors import GateFailed

SCORE = {"measure": "accuracy", "score": 0.97}


def _measured(name: str, p50_ms: float, **more: Any) -> dict[str, Any]:
    figures = {"bytes": 90, "p50_ms": p50_ms, "p99_ms": 9.0, "batch_p50_ms": 99.0, "batch_p99_ms": 99.0}
    costs = {"memory_bytes": 200, "joules_per_1000": p50_ms * 10}
    return {"name": name, **figures, **costs, "agreement": 1.0, **SCORE, **more}


PARENT = _measured("parent", 40.0)
BUDGET = BudgetSpec(max_bytes=100, max_p99_ms=10.0, max_memory_bytes=300)


def test_the_fastest_within_the_budget_is_chosen() -> None:
    """The smallest median latency wins, and both lines say why."""
    judged = choose([PARENT, _measured("onnx_fp32", 20.0), _measured("int8", 8.0, bytes=23)], BudgetSpec())

    assert [(one["name"], one["chosen"]) for one in judged] == [("onnx_fp32", False), ("int8", True)]
    assert judged[1]["why"] == "5.0x as fast and 3.9x smaller than its parent, within the budget: the fastest"


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"score": 0.96}, "accuracy falls by 0.0100, at most 0.005 is allowed"),
        ({"agreement": 0.98}, "agrees with its parent on 0.9800 of the rows, 0.99 is needed"),
        ({"bytes": 101}, "101 bytes, at most 100 are allowed"),
        ({"p99_ms": 12.5}, "12.5 ms for one text in a hundred, at most 10.0 are allowed"),
        ({"memory_bytes": 301}, "301 bytes of memory, at most 300 are allowed"),
        ({"overflow": "overflow: w has 1 weights"}, "overflow: w has 1 weights"),
        (
            {"first_bad_operator": "MatMul layer.1/linear"},
            "computes something else than its parent from MatMul layer.1/linear on",
        ),
    ],
)
def test_what_exceeds_the_budget_is_not_chosen(fault: dict[str, Any], why: str) -> None:
    """A faster candidate beyond a limit loses to a slower one within it, with the figures in its reason."""
    fast = _measured("int8", 8.0, **fault)
    judged = choose([PARENT, _measured("onnx_fp32", 20.0), fast], BUDGET)

    assert [(one["name"], one["chosen"]) for one in judged] == [("onnx_fp32", True), ("int8", False)]
    assert why == judged[1]["why"]


def test_no_candidate_within_the_budget_fails() -> None:
    """When none may be released the error names each with its figures."""
    with pytest.raises(GateFailed, match=r"int8: agrees .* 0\.5000"):
        choose([PARENT, _measured("int8", 8.0, agreement=0.5)], BudgetSpec())


def test_the_recipe_says_what_the_chosen_one_has_least_of() -> None:
    """By size a slower candidate wins, and the faster one is told by how much it lost."""
    small = _measured("int4", 12.0, bytes=15)
    judged = choose([PARENT, _measured("int8", 8.0, bytes=30), small], BudgetSpec(objective="bytes"))

    assert [(one["name"], one["chosen"]) for one in judged] == [("int8", False), ("int4", True)]
    assert judged[0]["why"].endswith("within the budget: 2.00x the size of int4")
    assert judged[1]["why"].endswith("within the budget: the smallest")


def test_a_candidate_that_another_beats_in_everything_says_so() -> None:
    """Pareto: what is slower, larger and no better is dominated; what is best in one thing is not."""
    models = [PARENT, _measured("fast", 8.0), _measured("slow", 9.0, bytes=95), _measured("good", 9.0, score=0.98)]
    judged = {one["name"]: one["dominated_by"] for one in choose(models, BudgetSpec())}

    assert judged == {"fast": None, "slow": "fast", "good": None}


def test_the_page_of_a_choice_follows_from_it_and_runs_nothing() -> None:
    """Equal choices give equal bytes; names are shown as text, and the page's own policy forbids scripts and loads."""
    judged = choose([PARENT, _measured("<script>", 8.0), _measured("int8", 9.0)], BudgetSpec())
    report = {"batch": 16, "test_rows": 10, "rows": 20}
    page = render(report, judged, PARENT, BudgetSpec())

    assert page == render(report, judged, PARENT, BudgetSpec())
    assert b"<script" not in page and page.count(b"&lt;script&gt;") >= 3
    assert b"default-src 'none'" in page and page.count(b"<circle") == 2


def test_names_of_marks_in_one_place_do_not_cover_each_other() -> None:
    """Forms that only differ in bytes stand at one point of the plot; their names stand below each other."""
    judged = choose([PARENT, *(_measured(f"form{number}", 8.0) for number in range(4))], BudgetSpec())
    page = render({"batch": 16, "test_rows": 10, "rows": 20}, judged, PARENT, BudgetSpec()).decode()
    lines = [float(found) for found in re.findall(r'y="([0-9.]+)" dy="4">form', page)]

    assert np.diff(sorted(lines)) == pytest.approx([15.0] * 3)


def test_spread_takes_short_and_long_texts_alike() -> None:
    """A sample spans the lengths, and never asks for more texts than there are."""
    texts = ["x" * length for length in range(1, 101)]

    assert [len(text) for text in spread(texts, 4)] == [1, 26, 51, 76]
    assert len(spread(texts, 1000)) == 100


@pytest.mark.parametrize(
    ("spec", "wrong", "message"),
    [
        (CompressionSpec, {"candidates": ()}, "candidates"),
        (CompressionSpec, {"candidates": (CandidateSpec(kind=CandidateKind.INT8),) * 2}, "each once"),
        (QuantisationSpec, {"block_size": 7}, "block_size=7"),
        (QuantisationSpec, {"calibration": "magic"}, "calibration='magic'"),
        (QuantisationSpec, {"calibration_rows": 1}, "calibration_rows=1"),
        (ExportSpec, {"opset": 9}, "opset=9"),
        (MeasurementSpec, {"latency_texts": 1}, "latency_texts=1"),
        (BudgetSpec, {"min_agreement": 1.5}, "min_agreement=1.5"),
        (BudgetSpec, {"max_bytes": 0}, "max_bytes=0"),
        (BudgetSpec, {"objective": "beauty"}, "objective='beauty'"),
        (MeasurementSpec, {"latency_batches": 1}, "latency_batches=1"),
    ],
)
def test_specs_refuse_what_cannot_be(spec: type, wrong: dict[str, Any], message: str) -> None:
    """A value out of range is refused by name when the spec is made."""
    with pytest.raises(ValueError, match=message):
        spec(**wrong)
