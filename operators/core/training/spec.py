"""Spec of the training loop, with every choice made: it is part of the run key, so nothing in it says `auto`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from operators.core.labels import Task

Objective = Task | Literal["masked_language_model", "causal_language_model"]
"""What a training teaches: to tell a data set's labels, or the words of its texts."""
MASKED: Final = "masked_language_model"
CAUSAL: Final = "causal_language_model"
LANGUAGE: Final = (MASKED, CAUSAL)
"""What is taught without labels."""
Precision = Literal["bf16", "fp16", "fp32"]
Device = Literal["cpu", "cuda"]
BatchBy = Literal["rows", "tokens"]
Optimiser = Literal["adamw", "sgd"]
Schedule = Literal["linear", "cosine", "constant"]
AdapterKind = Literal["lora", "adalora"]
Target = Literal["query", "key", "value", "dense"]
ADAPTER_RANGES: dict[str, tuple[float, float]] = {"lora_rank": (1, 256), "alpha": (0.1, 1024.0), "dropout": (0.0, 0.5)}
"""Lowest and highest value of each number of an adapter, both inclusive."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterSpec:
    """Matrices of low rank that are trained beside an encoder's own, which stay as they are, and added to them at last.

    Source: LoRA, arXiv 2106.09685; AdaLoRA, arXiv 2303.10512.
    """

    kind: AdapterKind = "lora"
    """`lora`: each of the same rank. `adalora`: they begin with half as much again, and lose what matters least, so
    that they have `lora_rank` on average once seven tenths of the steps are done."""
    lora_rank: int = 8
    alpha: float = 16.0
    """What is added is scaled by `alpha / lora_rank`; by AdaLoRA's `alpha` over the rank that it began with."""
    dropout: float = 0.0
    """Share of what goes into an adapter that is dropped in training."""
    targets: tuple[Target, ...] = ("query", "value")
    """Linear maps of each layer that have one; `dense` are the three that are none of attention's inputs."""

    def __post_init__(self) -> None:
        if any(word in str(self.kind) for word in ("prefix", "prompt")):
            raise ValueError(
                f"adapter kind={self.kind!r}: what stands before a text cannot be merged into weights, and models are "
                "released whole (ADR 0019); take lora"
            )
        if self.kind not in get_args(AdapterKind):
            raise ValueError(f"adapter kind={self.kind!r}: choose one of {', '.join(get_args(AdapterKind))}")
        for name, (lowest, highest) in ADAPTER_RANGES.items():
            value = getattr(self, name)
            is_whole = type(value) is int or not isinstance(lowest, int)
            if isinstance(value, bool) or not is_whole or not lowest <= value <= highest:
                raise ValueError(f"adapter {name}={value!r}: choose {lowest} to {highest}")
        known = get_args(Target)
        if not self.targets or len(set(self.targets)) != len(self.targets) or set(self.targets) - set(known):
            raise ValueError(f"adapter targets={self.targets!r}: choose among {', '.join(known)}, each once")


def least_batch(batch_by: BatchBy, ranks: int) -> int:
    """Return the least batch size with which no rank is ever left without a row."""
    # A window's batches have half the batch size at least; by tokens one may have half of that.
    return (4 if batch_by == "tokens" else 2) * ranks


def check_ranks(ranks: int, fsdp_degree: int, batch_size: int, batch_by: BatchBy) -> None:
    """Refuse ranks that no mesh or no batch can be shared out to.

    Raises:
        ValueError: The degree does not divide the ranks, or a rank could be left without a row.
    """
    if ranks % fsdp_degree:
        raise ValueError(f"fsdp_degree={fsdp_degree} for {ranks} ranks: choose a divisor of {ranks}")
    if batch_size < (least := least_batch(batch_by, ranks)):
        raise ValueError(
            f"batch_size={batch_size} by {batch_by} is less than {ranks} ranks need: raise it to {least} or lower ranks"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopSpec:
    """What decides the trained weights to the bit, on one kind of machine."""

    task: Objective = "text_classification"
    """What the model tells, and so its head and its loss."""
    masked_share: float = 0.0
    """Share of a text's tokens that a masked language model is asked for."""
    answers_after: str | None = None
    """What stands before a text's answer, the only part that a causal language model is asked for; None: it is asked
    for all of it."""
    epochs: int
    """Passes over the training rows."""
    batch_size: int
    """Rows of one optimiser step, over all ranks together."""
    batch_by: BatchBy
    """`rows`: as many in every batch. `tokens`: as many tokens, `batch_size` rows on average."""
    micro_batch_size: int | None
    """Rows that a rank takes at once, 2 or more; None: its whole share of a batch."""
    max_length: int
    """Tokens kept of a text, special ones included."""
    word_drop: float
    """Share of a text's words left out, others in every epoch."""
    word_swap: float
    """Share of a text's words that change places with the next."""
    optimiser: Optimiser
    momentum: float
    """Share of the gradients' running sum (SGD) or mean (AdamW) that a step keeps."""
    encoder_rate: float
    """Peak learning rate of the encoder."""
    head_rate: float
    """Peak learning rate of the head."""
    schedule: Schedule
    """How rates go on after the warm-up: down to zero in a line or along a cosine, or not at all."""
    warm_up: float
    """Share of all steps in which the rates rise."""
    weight_decay: float
    """Of matrices only: decoupled for AdamW, added to the gradient for SGD."""
    dropout: float
    """Share of hidden activations dropped; attention weights are never dropped, which halves the time of a step."""
    clip_norm: float
    """Gradients with a larger global norm are scaled down to it."""
    divergence_ratio: float
    """See `LossWatch`."""
    held_out: float
    """Share of the training rows that no step trains on; with any, the best epoch's weights are the result."""
    patience: int
    """Epochs in a row without a lower held-out loss after which training ends; 0: never before its last."""
    give_up_above: tuple[float, ...]
    """Held-out losses, by epoch, above which training ends: a search's, of trials that others have overtaken."""
    activation_checkpointing: bool
    """Keep what goes into a layer and compute the rest again in the backward pass."""
    frozen_embeddings: bool
    """Leave the embedding tables as they are."""
    frozen_layers: int
    """Layers that are left as they are, from the lowest on."""
    adapter: AdapterSpec | None
    """What is trained in place of the encoder's weights; None trains these."""
    ranks: int
    """Training processes; another number adds gradients in another order."""
    fsdp_degree: int
    """Ranks that hold one replica of the model between them; there are `ranks / fsdp_degree` replicas."""
    threads_per_rank: int
    """Threads of each rank; another number may round sums differently."""
    precision: Precision
    device: Device
    seed: int

    def __post_init__(self) -> None:
        check_ranks(self.ranks, self.fsdp_degree, self.batch_size, self.batch_by)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> LoopSpec:
        """Read what `asdict` gives, by way of JSON."""
        adapter = document["adapter"]
        if adapter is not None:
            adapter = AdapterSpec(**{**adapter, "targets": tuple(adapter["targets"])})
        return cls(**{**document, "adapter": adapter, "give_up_above": tuple(document["give_up_above"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What a machine offers to training."""

    cores: int
    """CPU cores this process may use."""
    gpus: int
    """CUDA devices this process may use."""
    precision: Precision
    """The fastest that the device it would train on was measured in; fp32 unless another is worth its rounding."""
    why: str = ""
    """What was measured, for people."""
