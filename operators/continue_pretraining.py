"""Operator of the stage `continue_pretraining`."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from operators.core.recipe import Recipe
from operators.training import TrainingOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class ContinuePretrainingOperator(TrainingOperator):
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

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Go on with the pre-training, or find its result."""
        assert recipe.pretraining is not None, "a recipe without pretraining has no such task"
        return self.train(store, recipe.pretraining, progress, self.account)
