"""The operator that makes one data set of a window's parts."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from operators import connections
from operators.core.recipe import Recipe
from operators.stage import StageOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class PublishDatasetOperator(StageOperator):
    """Drops duplicates, splits, and commits the version to the stream `dataset-<recipe>`.

    Args:
        parts: Digests of `ingest` results.
        base_model: Digest of the adopted base model, by whose tokenizer a recipe may ask for tokens (templated).
    """

    template_fields: Sequence[str] = ("parts", "base_model")
    doc_md = """
    **Triage.** Red with "leave test empty": the window holds too little data; widen it. Red with
    `PrivacyRiskTooHigh`: too few rows are alike; generalise a column further, or drop it. Red otherwise: the
    store; see its endpoints' logs, then clear the task. The version is committed whole or not at all.
    """

    def __init__(self, *, parts: Iterable[str], base_model: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parts = parts
        self.base_model = base_model

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Return the data set."""
        from operators.core.ingestion.publish import publish_dataset

        return publish_dataset(
            store,
            parts=list(self.parts),
            recipe=recipe.name,
            day=day,
            spec=recipe.dataset,
            key=connections.pseudonym_key(),
            progress=progress,
            task=recipe.anonymisation.task,
            base_model=self.base_model,
        )
