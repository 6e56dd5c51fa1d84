"""The operator that takes the personal data out of validated files and stores what is left."""

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


class IngestOperator(StageOperator):
    """Anonymises the selected rows of one validated group into Parquet.

    Args:
        validation: Digest of a `validate` result.
    """

    template_fields: Sequence[str] = ("validation",)
    doc_md = """
    **Triage.** Red with `SourceChanged`: a landing file was replaced after it was listed; clear `discover` and what
    follows. Red with `PrivacyRiskTooHigh`: stop, and look at the policy; nothing of that file was stored.
    """

    def __init__(self, *, validation: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validation = validation

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Return the parts of the group."""
        from operators.core.ingestion.ingest import ingest

        return ingest(
            store,
            validation=self.validation,
            landing=connections.landing_settings(),
            source=recipe.source,
            anonymisation=recipe.anonymisation,
            spec=recipe.ingestion,
            key=connections.pseudonym_key(),
            vault_key=connections.vault_public_key() if recipe.anonymisation.reversible else None,
            models=connections.models_folder() if recipe.ingestion.names is not None else None,
            progress=progress,
        )
