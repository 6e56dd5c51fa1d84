"""The base of the operators whose task trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from operators.core.recipe import Recipe
from operators.stage import StageOperator


class TrainingOperator(StageOperator):
    """Trains on a data set from a base model; a task that is ended ends its training, which is saved first.

    Args:
        recipe: What to do.
        dataset: Digest of the data set (templated).
        base_model: Digest of the base model (templated).
    """

    template_fields: Sequence[str] = ("dataset", "base_model")

    def __init__(self, *, recipe: Recipe, dataset: str, base_model: str, **kwargs: Any) -> None:
        super().__init__(recipe=recipe, **kwargs)
        self.dataset = dataset
        self.base_model = base_model

    def on_kill(self) -> None:
        """End the training processes that this task waits for; their state is saved."""
        from operators.core.training.launcher import end_waited_for

        end_waited_for()
