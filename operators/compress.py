"""The operator that makes a model small and fast, and proves what that cost."""

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
    """Makes the candidates of a model, measures them, and returns the fastest within the recipe's budget.

    Args:
        model: Digest of the fine-tuned model.
        dataset: Digest of the data set whose rows candidates are measured on.
    """

    template_fields: Sequence[str] = ("model", "dataset")
    doc_md = """
    Three run keys in one task: make, measure, choose. The candidates' figures are facts of the result.

    **Triage.** Red with `TrainingError`: the exported graph does not answer as PyTorch does; look at what changed in
    torch. Red with `GateFailed`: no candidate is within the budget; the message has the figures of each.
    """

    def __init__(self, *, model: str, dataset: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.dataset = dataset

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Return the chosen candidate."""
        from operators.core.compression.compress import compress
        from operators.core.compression.make_candidates import make_candidates
        from operators.core.compression.measure_candidates import measure_candidates

        spec = recipe.compression
        made = make_candidates(store, self.model, spec.export, progress)
        measured = measure_candidates(store, made.digest, self.dataset, spec.measurement, progress)
        chosen = compress(store, made.digest, measured.digest, spec.budget)
        for one in chosen.manifest.facts["candidates"]:
            self.log.info(
                "%s: %d bytes, p50 %.1f ms, p99 %.1f ms, accuracy %.4f, agreement %.4f: %s",
                *(one[key] for key in ("name", "bytes", "p50_ms", "p99_ms", "accuracy", "agreement", "why")),
            )
        return chosen
