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
    """Makes a model's candidates; returns the digests of their manifests, in the order of the recipe.

    Args:
        model: Digest of the fine-tuned model (templated).
        students: Digests of the recipe's students, in its order (templated); None where it has none.
    """

    template_fields: Sequence[str] = ("model", "students")
    doc_md = """
    A manifest each: what is there already is found.

    **Triage.** Red with `GateFailed`: the exported graph does not compute what PyTorch does, and the message names the
    first operator that differs; or a weight does not fit the form that the recipe asks for.
    """

    def __init__(self, *, model: str, students: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.students = students

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> list[Result]:
        """Make the candidates, or find them made."""
        from operators.core.compression.make_candidates import make_candidates

        assert recipe.compression is not None, "a recipe that does not go live has no such task"
        return make_candidates(store, self.model, recipe.compression, self.students or (), progress)
