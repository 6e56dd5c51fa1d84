"""The operator that holds new data against the data of the live release."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from operators.core.recipe import Recipe
from operators.stage import StageOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class CheckDriftOperator(StageOperator):
    """Compares the files that are new in the window with those of the live release; returns the verdict's digest.

    Args:
        parts: Digests of `ingest` results (templated).
    """

    template_fields: Sequence[str] = ("parts",)
    doc_md = """
    Labels, lengths, shares of characters and words of the new rows, beside those that the live release was made from.

    **Triage.** Red with `ExpectationFailed`: the new data is not like the old, the message says in what. A retry cannot
    help. If the change is meant, trigger the day again with `accept_drift`; else ask the source's owner.
    """

    def __init__(self, *, parts: Iterable[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parts = parts

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Return the verdict."""
        from operators.core.validation.check_drift import check_drift

        verdict = check_drift(
            store,
            parts=list(self.parts),
            recipe=recipe.name,
            day=day.isoformat(),
            spec=recipe.validation.drift,
            progress=progress,
        )
        self.log.info("%(comparison)s: drift %(level)s %(drifted)s", verdict.manifest.facts)
        return verdict
