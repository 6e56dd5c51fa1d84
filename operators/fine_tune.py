"""Operator of the stage `fine_tune`."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators.core.recipe import Recipe
from operators.training import TrainingOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class FineTuneOperator(TrainingOperator):
    """Trains the recipe's classifier on every GPU, or on the CPU; returns the digest of its manifest.

    A retry goes on from the last checkpoint, and waits for a training that outlived its killed task instead of starting
    a second.

    Args:
        recipe: What to do.
        dataset: Digest of the data set (templated).
        base_model: Digest of the adopted base model (templated).
        search: Digest of a `tune` result whose best trial is taken over (templated); None trains as the recipe says.
    """

    doc_md = """
    **Triage.** `LossDiverged`: lower the learning rate; a retry cannot help. `WorkerLost`: ranks died more often than
    they are restarted; the log's end says why, out of memory most likely. `StorageError`: the store, or too little
    local disk.
    """
    template_fields: Sequence[str] = ("dataset", "base_model", "search")

    def __init__(self, *, search: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.search = search

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Fine-tune, or find the model made."""
        found = {} if self.search is None else store.manifest(self.search).facts["training"]
        return self.train(store, recipe.training.replaced(found), progress, self.account)
