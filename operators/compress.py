"""The operator that measures a model's candidates and chooses one."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators.core.recipe import Recipe
from operators.stage import StageOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class CompressOperator(StageOperator):
    """Measures the candidates and returns the fastest within the recipe's budget, as a model of its own.

    Args:
        candidates: Digest of what `make_candidates` made (templated).
        dataset: Digest of the data set whose rows candidates are measured on (templated).
    """

    template_fields: Sequence[str] = ("candidates", "dataset")
    doc_md = """
    Two run keys in one task: measure, choose. The candidates' figures are facts of the result.

    **Triage.** Red with `GateFailed`: no candidate is within the budget; the message has the figures of each.
    """

    def __init__(self, *, candidates: str, dataset: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.candidates = candidates
        self.dataset = dataset

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Return the chosen candidate."""
        from operators.core.compression.compress import compress
        from operators.core.compression.measure_candidates import measure_candidates

        spec = recipe.compression
        assert spec is not None, "a recipe that does not go live has no such task"
        measured = measure_candidates(store, self.candidates, self.dataset, spec.measurement, progress)
        chosen = compress(store, self.candidates, measured.digest, spec.budget)
        for one in chosen.manifest.facts["candidates"]:
            self.log.info(
                "%s: %d bytes, p50 %.1f ms, p99 %.1f ms, %s %.4f, agreement %.4f: %s",
                *(one[key] for key in ("name", "bytes", "p50_ms", "p99_ms", "measure", "score", "agreement", "why")),
            )
        return chosen
