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
    """Measures the candidates and returns what the recipe's budget chooses, as a model of its own.

    Args:
        candidates: Digests of what `make_candidates` made, in the order of the recipe (templated).
        model: Digest of the fine-tuned model that all are compared with (templated).
    """

    template_fields: Sequence[str] = ("candidates", "model")
    doc_md = """
    Three run keys in one task: measure, choose, take. The candidates' figures are facts of the result; the page for
    people is `choice.html` of its input `choice`.

    **Triage.** Red with `GateFailed`: no candidate is within the budget; the message has the figures of each.
    """

    def __init__(self, *, candidates: list[str], model: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.candidates = candidates
        self.model = model

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Return the chosen candidate."""
        from operators.core.compression.choose_candidate import choose_candidate
        from operators.core.compression.compress import compress
        from operators.core.compression.measure_candidates import measure_candidates

        spec = recipe.compression
        assert spec is not None, "a recipe that does not go live has no such task"
        made = dict(zip((one.name for one in spec.candidates), self.candidates, strict=True))
        measured = measure_candidates(store, made, spec.measurement, model=self.model, progress=progress)
        choice = choose_candidate(store, measured.digest, spec.budget)
        for one in choice.manifest.facts["candidates"]:
            self.log.info(
                "%s: %d bytes, p50 %.1f ms, p99 %.1f ms, %s %.4f, agreement %.4f: %s",
                *(one[key] for key in ("name", "bytes", "p50_ms", "p99_ms", "measure", "score", "agreement", "why")),
            )
        return compress(store, made[choice.manifest.facts["chosen"]], choice.digest)
