"""The operator that lists the source files of a run's window."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from operators import connections
from operators.core.recipe import Recipe
from operators.stage import StageOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class DiscoverOperator(StageOperator):
    """Lists every file of the window by digest, in at most 8 groups; skips the run when its day has no file."""

    doc_md = """
    **Triage.** Skipped: no file arrived on the day, nothing is wrong. Red: the landing zone cannot be read; look at the
    connection `nightshift_landing`, then clear the task.
    """

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> list[Result]:
        """Return one listing a group."""
        from airflow.sdk.exceptions import AirflowSkipException

        from operators.core.sources.discover import discover

        results = discover(
            store,
            landing=connections.landing_settings(),
            spec=recipe.source,
            first_day=day - datetime.timedelta(days=recipe.window_days - 1),
            last_day=day,
            progress=progress,
        )
        if not results:
            raise AirflowSkipException(f"no file of {recipe.source.folder} arrived on {day}: nothing new to learn")
        return results
