"""Scores with the range that chance leaves them, for texts and for spans."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.evaluation.outcomes import outcomes, wilson
from operators.core.models.metrics import measure

NAMES = ("a", "b", "c")
LABELS = st.sampled_from(NAMES)
SPANS = st.lists(st.tuples(st.integers(0, 3), LABELS), max_size=3, unique_by=lambda span: span[0]).map(
    lambda spans: json.dumps([[5 * start, 5 * start + 4, name] for start, name in sorted(spans)], separators=(",", ":"))
)


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=30))
def test_the_score_of_texts_is_their_accuracy(pairs: list[tuple[str, str]]) -> None:
    """Added up over all rows it is what the metrics say, and its range holds it."""
    labels, predicted = zip(*pairs, strict=True)
    found = outcomes("text_classification", labels, predicted).estimate()

    assert found is not None and found.score == pytest.approx(
        measure("text_classification", labels, predicted, NAMES).score
    )
    assert found.low <= found.score + 1e-12 and found.score <= found.high + 1e-12


@given(st.lists(st.tuples(SPANS, SPANS), min_size=1, max_size=20))
def test_the_score_of_spans_is_their_strict_f1(pairs: list[tuple[str, str]]) -> None:
    """Added up over all rows it is what the metrics say; without any span there is no score."""
    labels, predicted = zip(*pairs, strict=True)
    found = outcomes("token_classification", labels, predicted).estimate()
    whole = measure("token_classification", labels, predicted, NAMES).score

    assert (found is None) == all(label == claim == "[]" for label, claim in pairs)
    assert found is None or (found.score == pytest.approx(whole) and found.low <= found.score + 1e-12 <= found.high + 1)


def test_a_range_is_wilson_s() -> None:
    """R's prop.test(81, 263, correct=FALSE), and for all right of few rows not the width of nothing."""
    assert wilson(81, 263) == pytest.approx((0.2552881, 0.3662101), abs=1e-6)
    assert wilson(5, 5) == pytest.approx((0.5655175, 1.0), abs=1e-6)


def test_the_score_of_no_rows_is_none() -> None:
    """Nothing could be right there, and nobody reads a zero."""
    assert outcomes("text_classification", ["a"], ["a"]).estimate(np.array([False])) is None
