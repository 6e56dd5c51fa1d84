"""Spec of what a student is trained by: a model that was cut from a fine-tuned one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from operators.core.finetuning.spec import TrainingSpec
from operators.core.training.spec import LANGUAGE, GuidanceSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoverySpec(TrainingSpec):
    """How a student that was cut from a fine-tuned model is trained on, with head and all."""

    guidance: GuidanceSpec | None = None
    """What it learns of the model that it was cut from; None learns from labels alone."""
    keeps_zeros: bool = False
    """Whether its zeros stay zeros."""

    def __post_init__(self) -> None:
        TrainingSpec.__post_init__(self)
        if self.task in LANGUAGE:
            raise ValueError(f"a student's task is its teacher's, not {self.task!r}")
        if self.keeps_zeros and self.adapter is not None:
            raise ValueError(
                "keeps_zeros with an adapter: what is added at the end would fill the zeros; leave one out"
            )

    @classmethod
    def of(cls, training: TrainingSpec, **changes: Any) -> RecoverySpec:
        """Return how a student is trained after a fine-tuning: all layers, all epochs, and what is changed.

        Raises:
            ValueError: A change does not fit.
        """
        same = {one.name: getattr(training, one.name) for one in fields(training)}
        return cls(**{**same, "adapter": None, "frozen_layers": 0, "give_up_above": (), **changes})
