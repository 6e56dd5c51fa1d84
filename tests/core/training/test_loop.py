"""Gloo ranks train what one process trains, however they share the work, and go on from any checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.core.training.gang import LOSS_SCALE, Trained, loop_spec, train

pytestmark = pytest.mark.integration

BOUND = 1e-5
"""Largest difference of a step's loss or a weight, in fp32, between ways to add up the same gradients: five times the
largest that was seen."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """What one process trains, whole batches at once."""
    return train(tmp_path_factory.mktemp("alone"), loop_spec())


@pytest.mark.parametrize(
    ("ranks", "changes"),
    [
        (2, {}),
        (4, {}),
        (2, {"fsdp_degree": 2}),
        (4, {"fsdp_degree": 4}),
        (4, {"fsdp_degree": 2}),
        (4, {"fsdp_degree": 2, "micro_batch_size": 2, "activation_checkpointing": True}),
    ],
    ids=["ddp-2", "ddp-4", "fsdp-2", "fsdp-4", "hybrid-2x2", "hybrid-2x2-small"],
)
def test_ranks_train_what_one_process_trains(
    alone: Trained, tmp_path: Path, ranks: int, changes: dict[str, Any]
) -> None:
    """Each step has the same loss within the bound, and the whole model's weights follow."""
    gang = train(tmp_path, loop_spec(ranks, **changes))

    assert gang.distance(alone) < BOUND
    assert set(gang.weights) == set(alone.weights)
    assert max((gang.weights[name] - alone.weights[name]).abs().max().item() for name in gang.weights) < BOUND


def test_micro_batches_give_the_step_of_the_whole_batch_in_less_memory(alone: Trained, tmp_path: Path) -> None:
    """Four rows at a time instead of sixteen: the same losses within the bound, and under a third kept for backward."""
    pieces = train(tmp_path, loop_spec(micro_batch_size=4))

    assert pieces.distance(alone) < BOUND
    assert pieces.saved_bytes < alone.saved_bytes / 3


def test_activation_checkpointing_gives_the_same_bits_in_less_memory(tmp_path: Path) -> None:
    """With dropout too, which must be drawn again as it was; of two layers under a third is kept."""
    kept, computed_again = (
        train(tmp_path / str(is_on), loop_spec(dropout=0.2, activation_checkpointing=is_on)) for is_on in (False, True)
    )

    assert computed_again.is_same(kept)
    assert computed_again.saved_bytes < kept.saved_bytes / 3


@pytest.mark.parametrize(
    ("ranks", "changes"),
    [
        (1, {"optimiser": "sgd", "schedule": "cosine", "encoder_rate": 1e-2}),
        (1, {"precision": "fp16", "epochs": 4}),
        (2, {"held_out": 0.25, "epochs": 3}),
        (4, {"fsdp_degree": 2, "optimiser": "sgd", "held_out": 0.25, "epochs": 3}),
    ],
    ids=["sgd", "fp16", "held-out", "hybrid-2x2"],
)
def test_a_training_that_was_cut_off_ends_with_the_same_bits(
    tmp_path: Path, ranks: int, changes: dict[str, Any]
) -> None:
    """Stopped after its seventh step, it goes on from a checkpoint before that, dropout and all."""
    spec = loop_spec(ranks, dropout=0.1, **changes)
    # Some steps are skipped until the scale fits, which the checkpoint must tell.
    loss_scale = 2.0**19 if spec.precision == "fp16" else None
    through = train(tmp_path / "through", spec, loss_scale=loss_scale)
    cut = train(tmp_path / "cut", spec, stop=7, loss_scale=loss_scale)
    resumed = train(tmp_path / "cut", spec)

    assert len(cut.losses) == 7 < len(through.losses)
    assert resumed.is_same(through)
    assert resumed.position | {"scaler": None} == through.position | {"scaler": None}
    assert (0 < through.position["skipped_steps"] < 7) is (spec.precision == "fp16")


def test_a_step_whose_gradients_overflow_is_skipped_and_counted(tmp_path: Path) -> None:
    """From far too large a scale, fp16 skips steps until the gradients fit, and learns then."""
    trained = train(tmp_path, loop_spec(precision="fp16", epochs=12), loss_scale=LOSS_SCALE)

    assert 20 <= trained.position["skipped_steps"] < 40
    assert trained.losses[-1] < trained.losses[0] - 0.1


def test_the_best_epoch_is_what_is_left_and_training_ends_when_none_gets_better(tmp_path: Path) -> None:
    """Two epochs without a better one end it, and the weights have the bits of a training of the best epochs alone."""
    rates = {"schedule": "constant", "warm_up": 0.0, "encoder_rate": 1e-2, "head_rate": 0.3, "divergence_ratio": 1e6}
    stopped = train(tmp_path / "stopped", loop_spec(epochs=40, patience=2, held_out=0.25, **rates))
    losses = stopped.position["held_out_losses"]
    best_epochs = losses.index(min(losses)) + 1
    best = train(tmp_path / "best", loop_spec(epochs=best_epochs, held_out=0.25, **rates))

    assert len(losses) == best_epochs + 2 < 40
    assert len(stopped.losses) > len(best.losses)
    assert all(stopped.weights[name].equal(best.weights[name]) for name in best.weights)


def test_another_number_of_ranks_goes_on_within_the_bound(alone: Trained, tmp_path: Path) -> None:
    """Two ranks, then one, then four: each step's loss is that of one process throughout."""
    spec = loop_spec(4)
    train(tmp_path, spec, ranks=2, stop=5)
    train(tmp_path, spec, ranks=1, stop=7)
    trained = train(tmp_path, spec)

    assert trained.distance(alone) < BOUND
    assert trained.position["world_sizes"] == [2, 1, 4]
