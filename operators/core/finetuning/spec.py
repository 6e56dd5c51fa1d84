"""Spec of fine-tuning: what a person sets; `resolve` makes the remaining choices for a machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from operators.core.labels import TASKS, Task
from operators.core.training.spec import BatchBy, Device, LoopSpec, Machine, Precision, least_batch

RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 100),
    "batch_size": (2, 4096),
    "max_length": (8, 512),
    "encoder_rate": (1e-7, 1e-2),
    "head_rate": (1e-6, 1.0),
    "warm_up": (0.0, 0.5),
    "weight_decay": (0.0, 1.0),
    "dropout": (0.0, 0.5),
    "clip_norm": (1e-3, 1e3),
    "threads_per_rank": (1, 64),
    "checkpoint_steps": (1, 1_000_000),
    "seed": (0, 2**31 - 1),
}
"""Lowest and highest value of each number, both inclusive."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSpec:
    """How a base model is fine-tuned."""

    task: Task = "text_classification"
    """What it learns to tell: the label of a text, or labelled spans of it."""
    epochs: int = 2
    """Passes over the training rows."""
    batch_size: int = 32
    """Rows of one optimiser step, over all ranks together."""
    batch_by: BatchBy = "rows"
    """`rows`: as many in every batch. `tokens`: as many tokens, `batch_size` rows on average: where lengths differ much
    and a batch of long texts would take a device's memory, or leave it idle with short ones."""
    max_length: int = 128
    """Tokens kept of a text, special ones included."""
    encoder_rate: float = 1.5e-4
    """Peak learning rate of the encoder."""
    head_rate: float = 1e-2
    """Peak learning rate of the head, which starts from nothing."""
    warm_up: float = 0.1
    """Share of all steps in which the rates rise."""
    weight_decay: float = 0.01
    dropout: float = 0.1
    """Share of hidden activations dropped in training."""
    clip_norm: float = 1.0
    """Largest global norm of a step's gradients."""
    frozen_embeddings: bool = True
    """Leave the embedding tables as they are: half of a small encoder's parameters."""
    ranks: int | Literal["auto"] = "auto"
    """Training processes; `auto` is one for each GPU, else two on the CPU where it has two cores."""
    threads_per_rank: int = 1
    precision: Precision | Literal["auto"] = "auto"
    """`auto` is bf16 where the device multiplies it in hardware, else fp32."""
    checkpoint_steps: int = 40
    """Optimiser steps between checkpoints, and one an epoch; one that is being written puts the next off. Changes no
    number, so no run key."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (lowest, highest) in RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not lowest <= value <= highest:
                raise ValueError(f"{name}={value!r}: choose {lowest} to {highest}")
        if self.ranks != "auto" and not (type(self.ranks) is int and 1 <= self.ranks <= 1024):
            raise ValueError(f"ranks={self.ranks!r}: choose 1 to 1024, or 'auto'")
        if self.task not in TASKS:
            raise ValueError(f"task={self.task!r}: choose one of {TASKS}")
        if self.batch_by not in ("rows", "tokens"):
            raise ValueError(f"batch_by={self.batch_by!r}: choose 'rows' or 'tokens'")
        if self.precision not in ("auto", "bf16", "fp32"):
            raise ValueError(f"precision={self.precision!r}: choose 'auto', 'bf16' or 'fp32'")
        if self.ranks != "auto" and self.batch_size < least_batch(self.batch_by, self.ranks):
            raise ValueError(
                f"batch_size={self.batch_size} by {self.batch_by} is less than {self.ranks} ranks need: raise it to "
                f"{least_batch(self.batch_by, self.ranks)}"
            )

    def resolve(self, machine: Machine) -> LoopSpec:
        """Return the spec with each `auto` decided for a machine, before any run key is made of it.

        Raises:
            ValueError: The machine has fewer GPUs than the ranks asked for.
        """
        device: Device = "cuda" if machine.gpus else "cpu"
        if machine.gpus and self.ranks != "auto" and self.ranks > machine.gpus:
            raise ValueError(f"ranks={self.ranks} but there are {machine.gpus} GPUs: lower ranks, or use 'auto'")
        ranks = self.ranks if self.ranks != "auto" else machine.gpus or min(2, machine.cores)
        precision: Precision = self.precision if self.precision != "auto" else "bf16" if machine.has_bf16 else "fp32"
        numbers = {name: value for name, value in asdict(self).items() if name != "checkpoint_steps"}
        return LoopSpec(**{**numbers, "ranks": ranks, "precision": precision, "device": device})
