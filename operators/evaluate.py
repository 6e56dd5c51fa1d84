"""Operator of the stage `evaluate`."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators.core.recipe import Recipe
from operators.core.training.spec import CAUSAL
from operators.stage import StageOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class EvaluateOperator(StageOperator):
    """Measures a model on the test rows beside a baseline; returns the digest of the evaluation's manifest.

    The baseline is a linear probe on the frozen base model; of a causal language model the base model itself.

    Args:
        recipe: What to do.
        model: Digest of a fine-tuned or compressed model (templated).
        dataset: Digest of the data set (templated).
        base_model: Digest of the adopted base model that the baseline stands on (templated).
    """

    doc_md = """
    The page for people is the manifest's `report.html`: `nightshift get DIGEST report.html -o FOLDER`.

    **Triage.** Red with a `DataError`: the data set has no test rows, or its labels are not the model's; a retry cannot
    help.
    """
    template_fields: Sequence[str] = ("model", "dataset", "base_model")

    def __init__(self, *, recipe: Recipe, model: str, dataset: str, base_model: str, **kwargs: Any) -> None:
        super().__init__(recipe=recipe, **kwargs)
        self.model = model
        self.dataset = dataset
        self.base_model = base_model

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Evaluate, or find the model evaluated."""
        if recipe.training.task == CAUSAL:
            from operators.core.evaluation.language import evaluate_language as evaluate
        else:
            from operators.core.evaluation.evaluate import evaluate

        return evaluate(
            store,
            recipe.evaluation,
            model=self.model,
            dataset=self.dataset,
            base_model=self.base_model,
            threads=len(os.sched_getaffinity(0)),
            progress=progress,
        )
