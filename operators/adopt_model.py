"""Operator of the stage `adopt_model`."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from operators import connections
from operators.core.recipe import Recipe
from operators.stage import StageOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class AdoptModelOperator(StageOperator):
    """Brings the recipe's base model into the store, proven byte for byte; returns the digest of its manifest."""

    doc_md = """
    **Triage.** Red: the model's folder lacks a file or holds one whose digest is not the recipe's. Fetch the model
    again; if it is meant to be another one, change the recipe. A retry cannot help.
    """

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Adopt the base model, or find it adopted."""
        from operators.core.models.adopt import adopt_model

        return adopt_model(store, connections.models_folder() / recipe.base_model.name, recipe.base_model, progress)
