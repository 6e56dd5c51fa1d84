"""Back up a release: the task that comes last in the main job."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators import connections
from operators.assets import RELEASED
from operators.stage import StageOperator

if TYPE_CHECKING:
    from operators.core.progress import Progress
    from operators.core.recipe import Recipe
    from operators.core.storage import Result, Store


class BackUpOperator(StageOperator):
    """Copies what a release reaches, and Airflow's database, to the backup store; returns the backup's digest.

    Args:
        release: Digest of the release (templated).
    """

    template_fields: Sequence[str] = ("release",)
    doc_md = """\
    **Makes** a backup of the release, of every release and data set before it, and of Airflow's database, on a store
    with other credentials; everything is read back and hashed, and only what is new is copied.

    **Triage.** `QuorumLost` or a connection error: the backup store is down or full; start it, then clear the task.
    `AllCopiesDamaged`: the *store* has lost something that the release needs; restore it from an older backup.
    The release stays live whatever happens here.
    """

    def __init__(self, *, release: str, **kwargs: Any) -> None:
        kwargs.setdefault("outlets", [RELEASED])
        super().__init__(**kwargs)
        self.release = release

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Back up once; what earlier backups brought is checked and stays."""
        from operators.core.recovery.back_up import back_up
        from operators.core.recovery.spec import BackUpSpec
        from operators.core.storage import open_store

        backup = open_store(connections.backup_settings())
        try:
            result = back_up(
                store,
                backup,
                release=self.release,
                spec=BackUpSpec(recipe=recipe.name),
                database=connections.airflow_database_path(),
                progress=progress,
            )
        finally:
            backup.close()
        facts = result.manifest.facts
        self.log.info(
            "%d manifests and %d objects, %d bytes, are on the backup store and were read back; %d bytes were new",
            facts["manifests"], facts["objects"], facts["bytes"], facts["copied_bytes"],
        )  # fmt: skip
        self.account["copied_bytes"] = facts["copied_bytes"]
        return result
