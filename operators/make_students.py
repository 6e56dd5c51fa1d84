"""The operator that cuts smaller models from a fine-tuned one and trains them."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from operators import connections
from operators.core.recipe import Recipe
from operators.training import TrainingOperator

if TYPE_CHECKING:
    from operators.core.compression.spec import StudentSpec
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class MakeStudentsOperator(TrainingOperator):
    """Makes the recipe's students, one after the other; returns the digests of their manifests, in its order.

    A retry finds those that were made, and goes on with the one that was not from its last checkpoint.

    Args:
        recipe: What to do; its `compression.students` say which.
        dataset: Digest of the data set (templated).
        base_model: Digest of the fine-tuned model that they are cut from, and learn of (templated).
    """

    doc_md = """
    Two run keys a student: what is cut, and what becomes of it in training.

    **Triage.** `LossDiverged`: lower the student's rates. `DataError`: the model has fewer layers than the recipe wants
    to keep. Any other is one that `fine_tune` has too: see there.
    """

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> list[Result]:
        """Cut and train, or find the students made."""
        assert recipe.compression is not None, "a recipe that does not go live has no such task"
        return [self._student(store, recipe, one, progress) for one in recipe.compression.students]

    def _student(self, store: Store, recipe: Recipe, student: StudentSpec, progress: Progress) -> Result:
        from operators.core.compression.cut_student import cut_student
        from operators.core.finetuning.fine_tune import fine_tune

        account: dict[str, Any] = {}
        cut = cut_student(store, self.base_model, student.shape)
        self.log.info("%s: %d parameters are left", student.name, cut.manifest.facts["parameters"])
        result = fine_tune(
            store,
            connections.store_settings(),
            recipe.recovery(student),
            dataset=self.dataset,
            base_model=cut.digest,
            teacher=None if student.guidance is None else self.base_model,
            scratch=connections.scratch_folder(),
            progress=lambda done, total, note: progress(done, total, f"{student.name}: {note}"),
            account=account,
        )
        self.account.setdefault("students", {})[student.name] = account
        return result
