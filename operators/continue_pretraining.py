"""Operator of the stage `continue_pretraining`."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators import connections
from operators.core.recipe import Recipe
from operators.stage import StageOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class ContinuePretrainingOperator(StageOperator):
    """Has the base model learn the data set's words; returns the digest of the base model that this gives.

    Args:
        recipe: What to do; its `pretraining` says how.
        dataset: Digest of the data set (templated); only texts of its train split are read, no labels.
        base_model: Digest of the adopted base model (templated).
    """

    doc_md = """
    **Triage.** As of `fine_tune`, which trains in the same way. `DataError` of a tokenizer: the base model has no mask;
    take `pretraining` out of the recipe.
    """
    template_fields: Sequence[str] = ("dataset", "base_model")

    def __init__(self, *, recipe: Recipe, dataset: str, base_model: str, **kwargs: Any) -> None:
        super().__init__(recipe=recipe, **kwargs)
        self.dataset = dataset
        self.base_model = base_model

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Go on with the pre-training, or find its result."""
        from operators.core.finetuning.fine_tune import fine_tune

        assert recipe.pretraining is not None, "a recipe without pretraining has no such task"
        return fine_tune(
            store,
            connections.store_settings(),
            recipe.pretraining,
            dataset=self.dataset,
            base_model=self.base_model,
            scratch=connections.scratch_folder(),
            progress=progress,
            account=self.account,
        )

    def on_kill(self) -> None:
        """End the training processes that this task waits for; the checkpoints stay."""
        from operators.core.training.launcher import end_waited_for

        end_waited_for()
