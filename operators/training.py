"""The base of the operators whose task trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators import connections
from operators.core.recipe import Recipe
from operators.stage import StageOperator

if TYPE_CHECKING:
    from operators.core.finetuning.spec import TrainingSpec
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store
    from operators.core.training.spec import Machine


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

    def train(
        self,
        store: Store,
        spec: TrainingSpec,
        progress: Progress,
        account: dict[str, Any],
        machine: Machine | None = None,
    ) -> Result:
        """Train by a spec on the data set from the base model, or find what that came to."""
        from operators.core.finetuning.fine_tune import fine_tune

        return fine_tune(
            store,
            connections.store_settings(),
            spec,
            dataset=self.dataset,
            base_model=self.base_model,
            scratch=connections.scratch_folder(),
            progress=progress,
            account=account,
            machine=machine,
            tracking=connections.tracking_settings(),
        )

    def on_kill(self) -> None:
        """End the training processes that this task waits for; their state is saved."""
        from operators.core.training.launcher import end_waited_for

        end_waited_for()
