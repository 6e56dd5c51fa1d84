"""Operator of the stage `tune`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from operators import connections
from operators.core.recipe import Recipe
from operators.training import TrainingOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class TuneOperator(TrainingOperator):
    """Searches hyper-parameters by trials, one after the other; returns the digest of what it found.

    A retry finds the trials that were made, and goes on with the one that was not.

    Args:
        recipe: What to do; its `search` says what is searched.
        dataset: Digest of the data set (templated).
        base_model: Digest of the adopted base model (templated).
    """

    doc_md = """
    **Triage.** `LossDiverged`: every trial did; lower the rates that the search may try. Any other is one that
    `fine_tune` has too: see there.
    """

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Search, or find what was found; without trials nothing is trained."""
        from operators.core.finetuning.fine_tune import REVISION
        from operators.core.manifest import spec_json
        from operators.core.training.machine import this_machine
        from operators.core.tuning.tune import tune

        assert recipe.search is not None, "a recipe without a search has no such task"
        machine = this_machine(connections.scratch_folder())

        def train(fields: Mapping[str, Any], told: Progress) -> Result:
            return self.train(store, recipe.training.replaced(fields), told, {}, machine)

        return tune(
            store,
            recipe.search,
            dataset=self.dataset,
            base_model=self.base_model,
            training={**spec_json(recipe.training.resolve(machine)), "revision": REVISION},
            train=train,
            progress=progress,
        )
