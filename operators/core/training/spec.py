"""Spec of the training loop, with every choice made: it is part of the run key, so nothing in it says `auto`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from operators.core.labels import Task

Precision = Literal["bf16", "fp32"]
Device = Literal["cpu", "cuda"]
BatchBy = Literal["rows", "tokens"]


def least_batch(batch_by: BatchBy, ranks: int) -> int:
    """Return the least batch size with which no rank is ever left without a row."""
    # A window's batches have half the batch size at least; by tokens one may have half of that.
    return (4 if batch_by == "tokens" else 2) * ranks


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopSpec:
    """What decides the trained weights to the bit, on one kind of machine."""

    task: Task = "text_classification"
    """What the model tells, and so its head and its loss."""
    epochs: int
    """Passes over the training rows."""
    batch_size: int
    """Rows of one optimiser step, over all ranks together."""
    batch_by: BatchBy
    """`rows`: as many in every batch. `tokens`: as many tokens, `batch_size` rows on average."""
    max_length: int
    """Tokens kept of a text, special ones included."""
    encoder_rate: float
    """Peak learning rate of the encoder."""
    head_rate: float
    """Peak learning rate of the head."""
    warm_up: float
    """Share of all steps in which the rates rise; then they fall linearly to zero."""
    weight_decay: float
    """AdamW's decoupled decay, on matrices only."""
    dropout: float
    """Share of hidden activations dropped; attention weights are never dropped, which halves the time of a step."""
    clip_norm: float
    """Gradients with a larger global norm are scaled down to it."""
    frozen_embeddings: bool
    """Leave the embedding tables as they are."""
    ranks: int
    """Training processes; another number adds gradients in another order."""
    threads_per_rank: int
    """Threads of each rank; another number may round sums differently."""
    precision: Precision
    device: Device
    seed: int

    def __post_init__(self) -> None:
        if self.batch_size < (least := least_batch(self.batch_by, self.ranks)):
            raise ValueError(
                f"batch_size={self.batch_size} for {self.ranks} ranks: raise it to {least}, or lower ranks"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What a machine offers to training."""

    cores: int
    """CPU cores this process may use."""
    gpus: int
    """CUDA devices this process may use."""
    has_bf16: bool
    """Whether the device training would use multiplies bf16 in hardware."""
