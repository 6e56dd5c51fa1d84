"""A training spec refuses what is out of range and decides each `auto` for a machine."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from operators.core.finetuning.spec import RANGES, TrainingSpec
from operators.core.manifest import StageCall, spec_json
from operators.core.training.spec import AdapterSpec, Machine

TWO_CORES = Machine(cores=2, gpus=0, precision="bf16")


@pytest.mark.parametrize("name", RANGES)
def test_a_number_out_of_range_is_refused_by_name(name: str) -> None:
    """The message names the field, so that whoever filled in the form knows which one."""
    lowest, highest = RANGES[name]

    with pytest.raises(ValueError, match=name):
        TrainingSpec(**{name: highest * 2})
    with pytest.raises(ValueError, match=name):
        TrainingSpec(**{name: lowest - 1})


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"epochs": 1.5}, "epochs"),
        ({"ranks": 0}, "ranks"),
        ({"ranks": "all"}, "ranks"),
        ({"precision": "fp8"}, "precision"),
        ({"optimiser": "lion"}, "optimiser"),
        ({"schedule": "step"}, "schedule"),
        ({"micro_batch_size": 1}, "micro_batch_size"),
        ({"patience": 2}, "held_out"),
        ({"fewer_ranks": True}, "ranks"),
        ({"ranks": 64}, "batch_size"),
        ({"ranks": 4, "fsdp_degree": 3}, "fsdp_degree"),
        ({"frozen_layers": 2, "frozen_embeddings": False}, "frozen_embeddings"),
        ({"adapter": AdapterSpec(), "frozen_embeddings": False}, "frozen_embeddings"),
        ({"adapter": AdapterSpec(kind="adalora"), "fsdp_degree": 2}, "fsdp_degree"),
    ],
)
def test_a_wrong_choice_is_refused_by_name(changes: dict[str, Any], word: str) -> None:
    """So are degrees that do not fit the ranks, patience without rows to judge by, and a batch too small."""
    with pytest.raises(ValueError, match=word):
        TrainingSpec(**changes)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"kind": "prefix"}, "kind"),
        ({"kind": "dora"}, "kind"),
        ({"lora_rank": 0}, "lora_rank"),
        ({"lora_rank": 1.5}, "lora_rank"),
        ({"alpha": 0.0}, "alpha"),
        ({"dropout": 0.9}, "dropout"),
        ({"targets": ()}, "targets"),
        ({"targets": ("query", "query")}, "targets"),
        ({"targets": ("gate",)}, "targets"),
    ],
)
def test_a_wrong_adapter_is_refused_by_name(changes: dict[str, Any], word: str) -> None:
    """What there is instead stands in the message."""
    with pytest.raises(ValueError, match=f"adapter {word}="):
        AdapterSpec(**changes)


@pytest.mark.parametrize("kind", ["prefix", "prefix_tuning", "prompt"])
def test_a_prefix_is_refused_with_the_reason(kind: Any) -> None:
    """Whoever asks for one learns why there is none, and what to take."""
    with pytest.raises(ValueError, match=r"cannot be merged into weights.*ADR 0019.*take lora"):
        AdapterSpec(kind=kind)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (TWO_CORES, (2, "bf16", "cpu")),
        (Machine(cores=1, gpus=0, precision="fp32"), (1, "fp32", "cpu")),
        (Machine(cores=64, gpus=0, precision="fp32"), (2, "fp32", "cpu")),
        (Machine(cores=64, gpus=8, precision="bf16"), (8, "bf16", "cuda")),
    ],
)
def test_auto_is_decided_by_the_machine(machine: Machine, expected: tuple[int, str, str]) -> None:
    """Every GPU, else two ranks on the CPU where it has two cores; bf16 where the device has it."""
    loop = TrainingSpec().resolve(machine)

    assert (loop.ranks, loop.precision, loop.device) == expected


def test_a_degree_that_fits_no_decided_ranks_is_refused() -> None:
    """With ranks left to the machine, the degree is held against what the machine has."""
    with pytest.raises(ValueError, match="fsdp_degree=4 for 2 ranks"):
        TrainingSpec(fsdp_degree=4).resolve(TWO_CORES)


def test_more_ranks_than_gpus_are_refused() -> None:
    """Two ranks cannot share a GPU."""
    with pytest.raises(ValueError, match="ranks=3"):
        TrainingSpec(ranks=3).resolve(Machine(cores=8, gpus=2, precision="bf16"))


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine(cores=64, gpus=8, precision="bf16"), 8),
        (Machine(cores=64, gpus=7, precision="bf16"), 6),
        (Machine(cores=64, gpus=2, precision="bf16"), 2),
        (Machine(cores=5, gpus=0, precision="bf16"), 4),
    ],
)
def test_fewer_ranks_are_as_many_as_hold_whole_replicas(machine: Machine, expected: int) -> None:
    """Of eight wanted, two to a replica, a machine starts what it has; and the run key stays that of eight."""
    spec = TrainingSpec(ranks=8, fsdp_degree=2, fewer_ranks=True)

    assert spec.ranks_on(machine, spec.resolve(machine).ranks) == expected
    assert spec.resolve(machine).ranks == 8


def test_a_machine_without_room_for_one_replica_is_refused() -> None:
    """Four ranks hold a replica, and two devices are left."""
    with pytest.raises(ValueError, match="fsdp_degree=4"):
        TrainingSpec(ranks=8, fsdp_degree=4, fewer_ranks=True).ranks_on(Machine(cores=8, gpus=2, precision="bf16"), 8)


def test_how_often_checkpoints_are_written_changes_no_run_key() -> None:
    """What changes no number is in no key; what changes numbers is."""

    def run_key(**changes: Any) -> str:
        loop = dataclasses.replace(TrainingSpec(), **changes).resolve(TWO_CORES)
        return StageCall(stage="fine_tune", revision=1, spec=spec_json(loop)).run_key

    assert run_key(checkpoint_steps=7) == run_key()
    assert run_key(ranks=2, fewer_ranks=True) == run_key(ranks=2)
    assert len({run_key(), run_key(epochs=3), run_key(ranks=1), run_key(precision="fp32"), run_key(seed=1)}) == 5
