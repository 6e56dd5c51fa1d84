"""A training stops when it has lost what it learnt, or when its epochs get no better; not for a hard batch."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.training.stopping import LossWatch, best_epoch, is_stale

LOSSES = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=60)


def diverged_at(losses: list[float], ratio: float = 3.0) -> int | None:
    """Return the step at which a watch calls out."""
    watch = LossWatch(ratio)
    return next((step for step, loss in enumerate(losses) if watch.diverged(loss)), None)


def falling(steps: int) -> list[float]:
    """Return the losses of a training that goes well."""
    return [math.log(2) * 0.97**step for step in range(steps)]


def test_a_falling_loss_never_diverges() -> None:
    """Two hundred steps down to a five-hundredth of the first loss."""
    assert diverged_at(falling(200)) is None


@pytest.mark.parametrize("times", [10.0, 100.0])
def test_a_hard_batch_is_no_divergence(times: float) -> None:
    """One step with many times the level around it goes by, once the model is good."""
    losses = falling(200)
    losses[150] *= times

    assert diverged_at(losses) is None


def test_overfitting_is_no_divergence() -> None:
    """A loss that rises tenfold from almost nothing, and stays far better than at the start, is left to the epochs."""
    low = falling(150)

    assert diverged_at(low + [10 * low[-1]] * 100) is None


def test_a_student_that_begins_well_may_get_a_little_worse() -> None:
    """Far below what one loses that knows nothing a rise is none; up there it is one all the same."""
    losses = [1e-4] * 20 + [0.05] * 100 + [2.0] * 60
    watch = LossWatch(3.0, untaught=math.log(2))
    called = next(step for step, loss in enumerate(losses) if watch.diverged(loss))

    assert 120 < called < 180


def test_a_model_that_forgot_everything_diverges() -> None:
    """Back at a coin's loss after having been good: soon called out, and not before it happens."""
    step = diverged_at(falling(100) + [math.log(2) * 1.05] * 200)

    assert step is not None and 100 < step < 200


def test_a_loss_that_explodes_at_once_diverges() -> None:
    """Without ever having learnt anything, ten times the first loss for a few steps."""
    step = diverged_at([0.7, 0.7] + [7.0] * 20)

    assert step is not None and step < 20


@given(LOSSES, st.integers(0, 60))
def test_a_watch_that_was_shown_the_past_goes_on_as_one_that_saw_it(losses: list[float], cut: int) -> None:
    """What a resumed run decides follows from the losses of its checkpoint, to the bit."""
    seen, resumed = LossWatch(3.0), LossWatch(3.0)
    answers = [seen.diverged(loss) for loss in losses]
    for loss in losses[:cut]:
        resumed.diverged(loss)

    assert [resumed.diverged(loss) for loss in losses[cut:]] == answers[cut:]


@given(LOSSES, st.integers(0, 5))
def test_training_ends_after_as_many_epochs_without_a_better_one(losses: list[float], patience: int) -> None:
    """No sooner and no later; never where no patience is set."""
    since_best = len(losses) - 1 - losses.index(min(losses))

    assert is_stale(losses, patience) is (patience > 0 and since_best >= patience)
    assert losses[best_epoch(losses)] == min(losses)


def test_before_the_first_epoch_nothing_is_stale() -> None:
    """There is no best epoch yet."""
    assert is_stale([], 1) is False
