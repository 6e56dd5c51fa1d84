"""The learning rates rise, then fall to zero."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from operators.core.training.optimisation import rate_factor


def test_rates_rise_to_the_peak_and_fall_to_the_last_step() -> None:
    """With a tenth of 100 steps of warm-up the peak is at step 9 and 10, the last step is the smallest of the fall."""
    factors = [rate_factor(step, 100, 0.1) for step in range(100)]

    assert factors[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[99] == pytest.approx(1 / 90)


def test_without_warm_up_the_first_step_has_the_peak_rate() -> None:
    """No share of warm-up, no rise."""
    assert rate_factor(0, 10, 0.0) == 1.0
