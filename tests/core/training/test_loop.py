"""Gloo ranks train what one process trains, however they share the work, and go on from any checkpoint."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from operators.core.manifest import canonical  # noqa: E402
from operators.core.storage import open_store  # noqa: E402
from tests.core.training.gang import (  # noqa: E402
    LOSS_SCALE,
    Kill,
    Trained,
    loop_spec,
    make_bags,
    store_settings,
    train,
    train_until_killed,
)

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
    """Killed once its first checkpoint is written, it goes on from there, dropout and all."""
    spec = loop_spec(ranks, dropout=0.1, **changes)
    # Some steps are skipped until the scale fits, which the checkpoint must tell.
    loss_scale = 2.0**19 if spec.precision == "fp16" else None
    through = train(tmp_path / "through", spec, loss_scale=loss_scale)
    train_until_killed(tmp_path / "cut", spec, Kill(step=1, at="written"), loss_scale=loss_scale)
    resumed = train(tmp_path / "cut", spec)

    assert resumed.is_same(through)
    assert resumed.position | {"scaler": None} == through.position | {"scaler": None}
    assert resumed.watch == through.watch
    assert (0 < through.position["skipped_steps"] < 7) is (spec.precision == "fp16")


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_step_whose_gradients_overflow_is_skipped_and_counted(tmp_path: Path, optimiser: str) -> None:
    """From far too large a scale, fp16 skips steps until the gradients fit, and learns then."""
    spec = loop_spec(precision="fp16", epochs=15, optimiser=optimiser, schedule="constant")
    trained = train(tmp_path, spec, loss_scale=LOSS_SCALE)

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


def test_a_checkpoint_that_loses_something_else_is_passed_over(tmp_path: Path) -> None:
    """Its next step's loss is not the one that it names: the gang fails, and the next goes on from the one before."""
    spec = loop_spec(2, epochs=6, dropout=0.1)
    train_until_killed(tmp_path / "cut", spec, Kill(step=9, at="written"))
    store = open_store(store_settings(tmp_path / "cut"))
    stream = store.stream(f"checkpoint-{'0' * 64}")
    entries = stream.entries()
    good = store.manifest(entries[-1].manifest)
    position = json.loads(store.read(good.file("position.json")))
    lie = store.put_bytes("position.json", canonical({**position, "next_loss": position["next_loss"] * 1.1}))
    files = tuple(lie if entry.name == lie.name else entry for entry in good.files)
    stream.append(store.put_manifest(replace(good, files=files)), after=entries[-1])
    store.close()
    resumed = train(tmp_path / "cut", spec, restarts=1)

    assert resumed.is_same(train(tmp_path / "through", spec))


def test_another_number_of_ranks_goes_on_within_the_bound(tmp_path: Path) -> None:
    """Two ranks, then one, then four: each step's loss is that of one process throughout."""
    spec = loop_spec(4, epochs=6)
    for ranks in (2, 1):
        train_until_killed(tmp_path / "smaller", spec, Kill(step=1, at="written"), ranks=ranks)
    trained = train(tmp_path / "smaller", spec)
    alone = train(tmp_path / "alone", spec, ranks=1)

    assert trained.distance(alone) < BOUND
    assert trained.position["world_sizes"] == [2, 1, 4]


def test_a_training_killed_at_ten_moments_ends_with_the_same_bits(tmp_path: Path) -> None:
    """At ten seeded moments, three of them while a checkpoint is half written; two ranks, dropout on."""
    spec = loop_spec(2, epochs=12, dropout=0.1, held_out=0.25)
    draw = random.Random(5)
    steps = sorted(draw.sample(range(3, 36), 10))
    for number, step in enumerate(steps):
        train_until_killed(tmp_path / "killed", spec, Kill(step=step, at="write" if number % 3 == 1 else "step"))
    killed, through = (train(tmp_path / name, spec) for name in ("killed", "through"))

    assert killed.is_same(through)


def test_a_million_rows_in_a_hundred_parts_give_the_update_of_one_device(tmp_path: Path) -> None:
    """The textbook case: four ranks with 25 parts each of one batch, and one that takes it whole, step alike."""
    spec = loop_spec(epochs=1, optimiser="sgd", momentum=0.0, warm_up=0.0, encoder_rate=1e-2, frozen_embeddings=False)
    whole = replace(spec, batch_size=1_000_000)
    parts = replace(whole, ranks=4, micro_batch_size=10_000)
    one, hundred = (train(tmp_path / str(s.ranks), s, make=make_bags) for s in (whole, parts))
    start = torch.zeros_like(one.weights["head.bias"])

    assert len(one.losses) == 1
    assert hundred.distance(one) < BOUND
    assert max((one.weights[name] - hundred.weights[name]).abs().max().item() for name in one.weights) < 1e-6
    assert not torch.allclose(one.weights["head.bias"], start, atol=1e-4)
