"""The operator that makes a trained model's candidates for release."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators.core.recipe import Recipe
from operators.stage import StageOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class MakeCandidatesOperator(StageOperator):
    """Exports and quantises a model; returns the digest of the candidates' manifest.

    Args:
        model: Digest of the fine-tuned model (templated).
    """

    template_fields: Sequence[str] = ("model",)
    doc_md = """
    **Triage.** Red with `TrainingError`: the exported graph does not answer as PyTorch does; look at what changed in
    torch.
    """

    def __init__(self, *, model: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Make the candidates, or find them made."""
        from operators.core.compression.make_candidates import make_candidates

        assert recipe.compression is not None, "a recipe that does not go live has no such task"
        return make_candidates(store, self.model, recipe.compression.export, progress)
