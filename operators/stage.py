"""The shell that every stage's task shares: open the store, run the stage, note what it cost, hand on a digest."""

from __future__ import annotations

import datetime
import inspect
import time
from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from operators import connections
from operators.core.manifest import sha256_hex
from operators.core.recipe import Recipe
from operators.parameters import day_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from operators.core.progress import Progress
    from operators.core.storage import Result, Store

_PROGRESS_SECONDS = 2.0


class StageOperator(BaseOperator):
    """Runs one stage for one recipe; returns the digest of its manifest, or a list of at most 8.

    Args:
        recipe: What to do; the run's parameters are applied to it when the task runs.
    """

    def __init__(self, *, recipe: Recipe, **kwargs: Any) -> None:
        # The constructor would put None over the notes that each operator's class has.
        kwargs.setdefault("doc_md", inspect.cleandoc(type(self).doc_md or ""))
        super().__init__(**kwargs)
        self.recipe = recipe
        self.account: dict[str, Any] = {}

    @abstractmethod
    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result | list[Result]:
        """Do the stage's work and return its result. `self.account` takes what the work cost."""

    def execute(self, context: Context) -> str | list[str]:
        """Run the stage once; what was computed before is found, not computed again."""
        from operators.core.storage import open_store

        recipe = self.recipe.with_params(context["params"])
        day = day_of(context)
        started = time.monotonic()
        store = open_store(connections.store_settings())
        try:
            outcome = self.run(store, recipe, day, self._progress())
            results = outcome if isinstance(outcome, list) else [outcome]
            self._account(store, context, results, time.monotonic() - started)
        finally:
            store.close()
        for result in results:
            self.log.info("%s %s", "found" if result.found else "made", result.digest)
        digests = [result.digest for result in results]
        return digests if isinstance(outcome, list) else digests[0]

    def _progress(self) -> Progress:
        """Return a callable that logs a line that both people and `make run` read, at most every two seconds."""
        last = 0.0

        def report(done: int, total: int, note: str) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _PROGRESS_SECONDS or done >= total:
                last = now
                self.log.info("progress %d/%d %s", done, total, note)

        return report

    def _account(self, store: Store, context: Context, results: Iterable[Result], seconds: float) -> None:
        instance = context["ti"]
        account = {
            "dag_id": instance.dag_id,
            "run_id": instance.run_id,
            "task_id": instance.task_id,
            "map_index": instance.map_index,
            "try_number": instance.try_number,
            "seconds": round(seconds, 3),
            **self.account,
        }
        run = sha256_hex(instance.run_id.encode())[:16]
        try_id = f"{instance.task_id}.{max(instance.map_index, 0)}.{run}.{instance.try_number}"
        for result in results:
            outcome = "found" if result.found else "made"
            store.add_account(result.manifest.run_key, try_id, {**account, "outcome": outcome})
