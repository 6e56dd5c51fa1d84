"""Specs of trainings that need no labels: of a masked language model, before fine-tuning, and of a causal one."""

from __future__ import annotations

from dataclasses import dataclass, field

from operators.core.finetuning.spec import TrainingSpec
from operators.core.training.spec import CAUSAL, MASKED, AdapterSpec, Objective


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainingSpec(TrainingSpec):
    """How a base model learns a data set's words before it is fine-tuned: by telling those that are hidden from it."""

    task: Objective = MASKED
    masked_share: float = 0.15
    """Share of a text's tokens that the model is asked for, others in every epoch, 0.01 to 0.5."""
    epochs: int = 1
    head_rate: float = 1e-3
    """Peak learning rate of the head, which is the base model's own where it has one."""
    held_out: float = 0.05

    def __post_init__(self) -> None:
        TrainingSpec.__post_init__(self)
        if self.task != MASKED:
            raise ValueError(f"pretraining task={self.task!r}: it is {MASKED!r}")
        if not 0.01 <= self.masked_share <= 0.5:
            raise ValueError(f"masked_share={self.masked_share!r}: choose 0.01 to 0.5")
        if not self.held_out:
            raise ValueError("held_out=0.0: pre-training is judged by held-out rows alone, choose up to 0.5")
        if self.fsdp_degree > 1:
            raise ValueError(
                f"fsdp_degree={self.fsdp_degree} for {MASKED!r}: its head ends with the table that its encoder begins "
                "with, and parts are sent layer by layer; set it to 1"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class CausalTrainingSpec(TrainingSpec):
    """How a causal language model goes on learning from a data set's texts: by telling each token from those before it.

    Adapters are what is trained, unless `adapter` is None. What comes of it has the base model's shape, and is
    evaluated beside the base model; it is neither compressed nor served.
    """

    task: Objective = CAUSAL
    answers_after: str | None = None
    """What stands in a text before its answer, at its first place, say `"\nAnswer:"`: a prompt is read, and only the
    answer's tokens have a loss. None: all tokens have."""
    epochs: int = 1
    batch_size: int = 16
    micro_batch_size: int | None = 4
    """Rows that a rank takes at once; logits of the whole vocabulary are computed for each of their tokens."""
    max_length: int = 256
    """Tokens kept of a text, its end included; what lies beyond is not learnt."""
    encoder_rate: float = 2e-4
    """Peak learning rate; head and embeddings stay as they are, so `head_rate` has nothing to do."""
    dropout: float = 0.0
    """0: the architecture has none; `adapter` has its own."""
    held_out: float = 0.05
    adapter: AdapterSpec | None = field(default_factory=AdapterSpec)

    def __post_init__(self) -> None:
        TrainingSpec.__post_init__(self)
        if self.task != CAUSAL:
            raise ValueError(f"task={self.task!r} of a CausalTrainingSpec: it is {CAUSAL!r}")
        if self.answers_after is not None and not self.answers_after:
            raise ValueError("answers_after='': give what stands before an answer, or None")
        if self.dropout:
            raise ValueError(f"dropout={self.dropout}: a causal language model has none; set adapter.dropout instead")
        if not self.frozen_embeddings:
            raise ValueError(
                f"frozen_embeddings=False for {CAUSAL!r}: its head is the table of embeddings, which stays as it is"
            )
        if self.fsdp_degree > 1:
            raise ValueError(
                f"fsdp_degree={self.fsdp_degree} for {CAUSAL!r}: its head is the table that its layers begin with, and "
                "parts are sent layer by layer; set it to 1"
            )
