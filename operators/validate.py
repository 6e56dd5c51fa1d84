"""The operator that checks source files against the recipe's expectations."""

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


class ValidateOperator(StageOperator):
    """Validates the files of one listing, selects their rows, and writes their Data Docs.

    Args:
        listing: Digest of a `discover` result.
    """

    template_fields: Sequence[str] = ("listing",)
    doc_md = """
    **Triage.** Red: files are cut off, hostile, changed since they were listed, or break an expectation of the whole
    file; the last line of the log names each with its reason, its Data Docs page the counts. Tell the source's owner:
    a retry cannot help until they are replaced. What the others came to is kept.
    """

    def __init__(self, *, listing: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.listing = listing

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Return the validation of the group."""
        from operators.core.validation.docs import write_index, write_page
        from operators.core.validation.validate import validate

        # A tracker that cannot be told of the training: better said now than after hours.
        connections.tracking_settings()
        docs = connections.data_docs_folder()
        try:
            return validate(
                store,
                listing=self.listing,
                landing=connections.landing_settings(),
                source=recipe.source,
                spec=recipe.validation,
                progress=progress,
                each_file=lambda result: write_page(store, result, docs),
            )
        finally:
            write_index(docs)
