"""Choosing between candidates, and specs that refuse what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from operators.core.compression.compress import choose
from operators.core.compression.sample import spread
from operators.core.compression.spec import BudgetSpec, ExportSpec, MeasurementSpec
from operators.core.errors import GateFailed

SCORE = {"measure": "accuracy", "score": 0.97}


def _measured(name: str, p50_ms: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "bytes": 90, "p50_ms": p50_ms, "p99_ms": 9.0, "agreement": 1.0, **SCORE, **more}


PARENT = _measured("parent", 40.0)


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
    ],
)
def test_what_exceeds_the_budget_is_not_chosen(fault: dict[str, Any], why: str) -> None:
    """A faster candidate beyond a limit loses to a slower one within it, with the figures in its reason."""
    fast = _measured("int8", 8.0, **fault)
    judged = choose([PARENT, _measured("onnx_fp32", 20.0), fast], BudgetSpec(max_bytes=100))

    assert [(one["name"], one["chosen"]) for one in judged] == [("onnx_fp32", True), ("int8", False)]
    assert why == judged[1]["why"]


def test_no_candidate_within_the_budget_fails() -> None:
    """When none may be released the error names each with its figures."""
    with pytest.raises(GateFailed, match=r"int8: agrees .* 0\.5000"):
        choose([PARENT, _measured("int8", 8.0, agreement=0.5)], BudgetSpec())


def test_spread_takes_short_and_long_texts_alike() -> None:
    """A sample spans the lengths, and never asks for more texts than there are."""
    texts = ["x" * length for length in range(1, 101)]

    assert [len(text) for text in spread(texts, 4)] == [1, 26, 51, 76]
    assert len(spread(texts, 1000)) == 100


@pytest.mark.parametrize(
    ("spec", "wrong", "message"),
    [
        (ExportSpec, {"candidates": ()}, "candidates"),
        (ExportSpec, {"opset": 9}, "opset=9"),
        (MeasurementSpec, {"latency_texts": 1}, "latency_texts=1"),
        (BudgetSpec, {"min_agreement": 1.5}, "min_agreement=1.5"),
        (BudgetSpec, {"max_bytes": 0}, "max_bytes=0"),
    ],
)
def test_specs_refuse_what_cannot_be(spec: type, wrong: dict[str, Any], message: str) -> None:
    """A value out of range is refused by name when the spec is made."""
    with pytest.raises(ValueError, match=message):
        spec(**wrong)
