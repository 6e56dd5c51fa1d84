"""The operator that rehearses a recovery."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Param
from airflow.sdk.exceptions import AirflowSkipException

from operators import connections
from operators.core.recipe import Recipe
from operators.core.recovery.spec import DrillSpec

if TYPE_CHECKING:
    from airflow.sdk import Context

_HOUR = 3600.0


def drill_form() -> dict[str, Any]:
    """Return the parameters of a run."""
    spec = DrillSpec()
    return {
        "rpo_target_hours": Param(
            spec.rpo_target_seconds / _HOUR,
            "Age of the newest backup, in hours, above which the drill is red.",
            type="number",
            exclusiveMinimum=0,
        ),
        "rto_target_hours": Param(
            spec.rto_target_seconds / _HOUR,
            "Hours from the kit to the first answered prediction, above which the drill is red.",
            type="number",
            exclusiveMinimum=0,
        ),
    }


class RecoveryDrillOperator(BaseOperator):
    """Restores the newest backup into an empty place with the drill's kit alone; returns the digest of its record.

    Args:
        recipes: Whose live releases are asked, there and in production.
    """

    doc_md = """\
    **Makes** a record in the stream `drill`: RPO and RTO, how many objects were read back, how many answers differ from
    production's, and whether the live model's training, its first steps taken again there, loses what it lost then. The
    place it restores into is a folder of its own, with a model server of its own; production is asked a few texts and
    nothing else of it is touched. It waits for its turn among trainings, for it trains a little.

    **Triage.** The message names every target that was missed. *RPO*: look why `back_up_platform` is not green. *RTO*:
    the machine was busy, or the store has grown; docs/recovery.md says what a restore costs. *AllCopiesDamaged*: the
    backup has lost something; the next `back_up_platform` copies it again if it is missing, so trigger that, then this.
    *Predictions differ*: the restored model is not what production serves: compare the two versions first. *Does not
    train*, *lose another*: data set or base model are not what the model was made of, or this is another kind of
    machine.
    """

    def __init__(self, *, recipes: Mapping[str, Recipe], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recipes = dict(recipes)

    def execute(self, context: Context) -> str:
        """Drill once; red when a target is missed."""
        from operators.core.errors import DrillFailed
        from operators.core.recovery.back_up_platform import RECORD
        from operators.core.scratch import scratch_folder
        from operators.core.storage import open_store
        from operators.drill import drill

        params = context["params"]
        spec = DrillSpec(
            rpo_target_seconds=params["rpo_target_hours"] * _HOUR, rto_target_seconds=params["rto_target_hours"] * _HOUR
        )
        store = open_store(dataclasses.replace(connections.store_settings(), cache=None))
        try:
            # Airflow starts a weekly DAG's first run with the platform itself. Once one backup was made, none is red.
            if store.stream(RECORD).head() is None:
                raise AirflowSkipException("nothing was ever backed up: there is nothing to rehearse yet")
            with scratch_folder() as folder:
                record = drill(
                    store,
                    connections.drill_kit(),
                    folder,
                    spec,
                    recipes=list(self.recipes.values()),
                    serving=connections.serving_settings(),
                    progress=self._progress,
                )
        finally:
            store.close()
        self.log.info("%s", dict(record.facts))
        if not record.facts["targets_met"]:
            raise DrillFailed(f"the drill {record.digest[:12]} shows: {'; '.join(record.facts['missed'])}")
        return record.digest

    def _progress(self, done: int, total: int, note: str) -> None:
        if done % 100 == 0 or done == total:
            self.log.info("progress %d/%d %s", done, total, note)
