"""Spec of fine-tuning: what a person sets; `resolve` makes the remaining choices for a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from operators.core.labels import TASKS
from operators.core.training.spec import (
    LANGUAGE,
    AdapterSpec,
    BatchBy,
    Device,
    LoopSpec,
    Machine,
    Objective,
    Optimiser,
    Precision,
    Schedule,
    check_ranks,
)

RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 100),
    "batch_size": (2, 4096),
    "max_length": (8, 512),
    "word_drop": (0.0, 0.5),
    "word_swap": (0.0, 0.5),
    "encoder_rate": (1e-7, 1e-2),
    "head_rate": (1e-6, 1.0),
    "momentum": (0.0, 0.999),
    "warm_up": (0.0, 0.5),
    "weight_decay": (0.0, 1.0),
    "dropout": (0.0, 0.5),
    "clip_norm": (1e-3, 1e3),
    "divergence_ratio": (1.5, 1e6),
    "held_out": (0.0, 0.5),
    "patience": (0, 100),
    "frozen_layers": (0, 1000),
    "fsdp_degree": (1, 1024),
    "threads_per_rank": (1, 64),
    "checkpoint_steps": (1, 1_000_000),
    "seed": (0, 2**31 - 1),
}
"""Lowest and highest value of each number, both inclusive; whole numbers have whole ones."""
CHOICES: dict[str, tuple[str, ...]] = {
    "task": (*TASKS, *LANGUAGE),
    "batch_by": get_args(BatchBy),
    "optimiser": get_args(Optimiser),
    "schedule": get_args(Schedule),
    "precision": ("auto", *get_args(Precision)),
}
PLACEMENT = ("checkpoint_steps", "fewer_ranks")
"""Fields that say how a training is run and not what it computes: in no run key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSpec:
    """How a base model is fine-tuned."""

    task: Objective = "text_classification"
    """What it learns to tell: the label of a text, or labelled spans of it; see `language_spec` for its words."""
    epochs: int = 2
    """Passes over the training rows."""
    batch_size: int = 32
    """Rows of one optimiser step, over all ranks together."""
    batch_by: BatchBy = "rows"
    """`rows`: as many in every batch. `tokens`: as many tokens, `batch_size` rows on average: where lengths differ much
    and a batch of long texts would take a device's memory, or leave it idle with short ones."""
    micro_batch_size: int | None = None
    """Rows that a rank takes at once, 2 to 4096; None: its whole share of a batch. Gradients are added up over what a
    batch is cut into, so memory follows this and the step follows `batch_size`, but for rounding."""
    max_length: int = 128
    """Tokens kept of a text, special ones included."""
    word_drop: float = 0.0
    """Share of a training text's words left out, others in every epoch: augmentation, for few rows of long texts."""
    word_swap: float = 0.0
    """Share of a training text's words that change places with the next, others in every epoch."""
    optimiser: Optimiser = "adamw"
    """`adamw`, or `sgd` with momentum, which keeps one number a parameter instead of two and wants larger rates."""
    momentum: float = 0.9
    """Share of the gradients' running sum (SGD) or mean (AdamW's first beta) that a step keeps."""
    encoder_rate: float = 1.5e-4
    """Peak learning rate of the encoder."""
    head_rate: float = 1e-2
    """Peak learning rate of the head, which starts from nothing."""
    schedule: Schedule = "linear"
    """How the rates go on after the warm-up: to zero in a line (`linear`) or along a cosine, or not at all."""
    warm_up: float = 0.1
    """Share of all steps in which the rates rise."""
    weight_decay: float = 0.01
    """Of matrices, not of biases and norms: decoupled for AdamW, added to the gradient for SGD."""
    dropout: float = 0.1
    """Share of hidden activations dropped in training."""
    clip_norm: float = 1.0
    """Largest global norm of a step's gradients."""
    divergence_ratio: float = 3.0
    """Training stops when the loss's running level is this many times its lowest and no better than at the start."""
    held_out: float = 0.0
    """Share of the training rows that no step trains on. With any, each epoch is judged by its loss on them, and the
    best one's weights are the result."""
    patience: int = 0
    """Epochs in a row without a lower held-out loss after which training ends; 0: after `epochs`, whatever comes."""
    give_up_above: tuple[float, ...] = ()
    """Held-out losses, by epoch, above which training ends; a search sets them for its trials."""
    activation_checkpointing: bool = False
    """Keep only what goes into each layer and compute the rest again in the backward pass: the same bits in less
    memory, for about a third more time."""
    frozen_embeddings: bool = True
    """Leave the embedding tables as they are: half of a small encoder's parameters."""
    frozen_layers: int = 0
    """Layers that are left as they are, from the lowest on, with the embeddings below them: no gradient goes there,
    which saves their share of the backward pass and of the optimiser's memory."""
    adapter: AdapterSpec | None = None
    """What is trained in place of the encoder's own weights, in the layers that are not frozen, and added to these at
    the end: what is exported has the base model's shape. Wants rates some ten times as large."""
    ranks: int | Literal["auto"] = "auto"
    """Training processes; `auto` is one for each GPU, else two on the CPU where it has two cores."""
    fewer_ranks: bool = False
    """Go on with what a machine has left where that is less than `ranks`, a number then: the same rows and rates at
    each step, added up in another order. It is recorded in the model's facts, and changes no run key."""
    fsdp_degree: int = 1
    """Ranks that hold one replica of the model between them (FSDP), where it is too large for one device; a divisor of
    `ranks`. With fewer than all, each group of as many is a replica, and replicas add up their gradients (hybrid)."""
    threads_per_rank: int = 1
    precision: Precision | Literal["auto"] = "auto"
    """`auto` is bf16, or fp16 with its loss scaled where there is no bf16, if the device multiplies it in hardware and
    was measured to gain from it; else fp32."""
    checkpoint_steps: int = 40
    """Optimiser steps between checkpoints, and one an epoch; one that is being written puts the next off. Changes no
    number, so no run key."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (lowest, highest) in RANGES.items():
            value = getattr(self, name)
            is_whole = type(value) is int or not isinstance(lowest, int)
            if isinstance(value, bool) or not is_whole or not lowest <= value <= highest:
                raise ValueError(f"{name}={value!r}: choose {lowest} to {highest}")
        if self.ranks != "auto" and not (type(self.ranks) is int and 1 <= self.ranks <= 1024):
            raise ValueError(f"ranks={self.ranks!r}: choose 1 to 1024, or 'auto'")
        for name, choices in CHOICES.items():
            if (choice := getattr(self, name)) not in choices:
                raise ValueError(f"{name}={choice!r}: choose one of {', '.join(choices)}")
        # Two, for ranks whose shares differ by one row must cut them into as many pieces.
        most = self.micro_batch_size
        if most is not None and not (type(most) is int and 2 <= most <= RANGES["batch_size"][1]):
            raise ValueError(f"micro_batch_size={most!r}: choose 2 to 4096, or None")
        self._check_together()

    def _check_together(self) -> None:
        if self.task != "text_classification" and (self.word_drop or self.word_swap):
            raise ValueError(f"word_drop and word_swap take texts apart: set both to 0 for task={self.task!r}")
        needing = [name for name in ("patience", "give_up_above") if getattr(self, name)]
        if needing and not self.held_out:
            raise ValueError(f"{needing[0]} needs held-out rows to judge epochs by: set held_out, say to 0.1")
        self._check_frozen()
        if self.fewer_ranks and self.ranks == "auto":
            raise ValueError("fewer_ranks=True with ranks='auto': fewer than how many? set ranks")
        if self.ranks != "auto":
            check_ranks(self.ranks, self.fsdp_degree, self.batch_size, self.batch_by)

    def _check_frozen(self) -> None:
        if self.adapter is not None and not isinstance(self.adapter, AdapterSpec):
            raise ValueError(f"adapter={self.adapter!r}: give an AdapterSpec, or None")
        if not self.frozen_embeddings and (self.frozen_layers or self.adapter is not None):
            raise ValueError(
                "frozen layers, or an adapter, above embeddings that are trained: set frozen_embeddings=True"
            )
        if self.adapter is not None and self.adapter.kind == "adalora" and self.fsdp_degree > 1:
            raise ValueError(
                f"adalora with fsdp_degree={self.fsdp_degree}: it weighs rows of all its matrices against each other, "
                "which no rank holds whole; set fsdp_degree=1, or take kind='lora'"
            )

    def has(self, name: str) -> bool:
        """Return whether a field is there that changes a model; `adapter.alpha` is one of the adapter's."""
        own, _, inner = name.partition(".")
        if inner:
            return own == "adapter" and self.adapter is not None and inner in {one.name for one in fields(self.adapter)}
        return own not in PLACEMENT and own in {one.name for one in fields(self)}

    def replaced(self, values: Mapping[str, Any]) -> Self:
        """Return the spec with the values of some fields, which it `has`, replaced.

        Raises:
            ValueError: One does not fit.
        """
        own = {name: value for name, value in values.items() if "." not in name}
        inner = {name.partition(".")[2]: value for name, value in values.items() if "." in name}
        if inner:
            assert self.adapter is not None, "it has no such field"
            own["adapter"] = replace(self.adapter, **inner)
        return replace(self, **own)

    def resolve(self, machine: Machine) -> LoopSpec:
        """Return the spec with each `auto` decided for a machine, before any run key is made of it.

        Raises:
            ValueError: The machine has fewer GPUs than the ranks asked for.
        """
        device: Device = "cuda" if machine.gpus else "cpu"
        if machine.gpus and self.ranks != "auto" and self.ranks > machine.gpus and not self.fewer_ranks:
            raise ValueError(
                f"ranks={self.ranks} but there are {machine.gpus} GPUs: lower ranks, use 'auto', or set fewer_ranks"
            )
        ranks = self.ranks if self.ranks != "auto" else machine.gpus or min(2, machine.cores)
        precision = self.precision if self.precision != "auto" else machine.precision
        numbers = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in PLACEMENT}
        return LoopSpec(**{**numbers, "ranks": ranks, "precision": precision, "device": device})

    def ranks_on(self, machine: Machine, wanted: int) -> int:
        """Return how many ranks to start on a machine, of those wanted.

        Raises:
            ValueError: It has too few for one replica of the model.
        """
        present = machine.gpus or machine.cores
        if not self.fewer_ranks or wanted <= present:
            return wanted
        if present < self.fsdp_degree:
            raise ValueError(f"fsdp_degree={self.fsdp_degree} but the machine has {present} devices: lower the degree")
        return present - present % self.fsdp_degree
