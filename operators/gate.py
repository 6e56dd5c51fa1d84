"""The operator that decides whether a model may go live."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators import connections
from operators.core.recipe import Recipe
from operators.stage import StageOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class GateOperator(StageOperator):
    """Holds a model against the recipe's floor, what is live, and the oldest release, and signs what it says of it.

    Args:
        evaluation: Digest of the evaluation of the model that would go live.
    """

    template_fields: Sequence[str] = ("evaluation",)
    doc_md = """
    **Triage.** Red with `GateFailed`: the model is worse than the floor or than what is live, which stays live, or it
    has forgotten what the oldest release knew. The message has the figures. Look at the day's data, at the page of its
    evaluation (`report.html`) and at the rows that got worse (the verdict's `regressions.json`). A retry cannot
    help; a new floor (`quality_floor` in the trigger form) or new data can.
    """

    def __init__(self, *, evaluation: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.evaluation = evaluation

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Return the verdict that lets the model go live."""
        from operators.core.evaluation.gate import gate
        from operators.core.signing import Signer

        assert recipe.gate is not None, "a recipe that does not go live has no such task"

        def evaluate_live(model: str, dataset: str) -> Result:
            from operators.core.evaluation.evaluate import evaluate

            return evaluate(
                store,
                recipe.evaluation.answers_only,
                model=model,
                dataset=dataset,
                base_model=_base_model(store, self.evaluation),
                threads=os.cpu_count() or 1,
                progress=progress,
            )

        signer = Signer(connections.signing_key())
        verdict = gate(
            store, self.evaluation, recipe=recipe.name, spec=recipe.gate, evaluate=evaluate_live, signer=signer
        )
        self.log.info("passed: %(measure)s %(score)s, compared: %(comparison)s", verdict.manifest.facts)
        return verdict


def _base_model(store: Store, evaluation: str) -> str:
    """Return the digest of the base model that the evaluation's baseline probes."""
    baseline = store.manifest(evaluation).input("baseline").manifest
    base_model = store.manifest(baseline).input("base_model").manifest if baseline else None
    if base_model is None:
        raise ValueError(f"the evaluation {evaluation[:12]} names no baseline in the store: evaluate again")
    return base_model
