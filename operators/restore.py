"""The operator that brings a backup into an empty place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator, Param

from operators import connections
from operators.trail import note_change

if TYPE_CHECKING:
    from airflow.sdk import Context

    from operators.core.recovery.restore import Restored

LATEST = "latest"


def restore_form(recipes: list[str]) -> dict[str, Param]:
    """Return the typed fields of the form that starts a restore."""
    return {
        "recipe": Param(recipes[0] if recipes else None, "Whose backup is restored.", type="string", enum=recipes),
        "backup": Param(
            LATEST,
            f"Digest of the backup's manifest, 64 hexadecimal digits, or `{LATEST}`.",
            type="string",
            pattern=f"^({LATEST}|[0-9a-f]{{64}})$",
        ),
        "target": Param(
            "nightshift_restore_target",
            "Id of the Airflow connection of the place to restore into, with storage settings in its extra as "
            "`nightshift_store` has them. Its endpoints are empty buckets or folders.",
            type="string",
            pattern="^[a-z0-9_]{1,64}$",
        ),
        "airflow_database": Param(
            None,
            "Absolute path at which Airflow's database is put, where nothing is yet. Empty: it stays in the backup.",
            type=["null", "string"],
            pattern="^/.+",
        ),
    }


class RestoreOperator(BaseOperator):
    """Restores the backup that the run's form names; returns the release's digest.

    The whole backup is read and hashed before anything is written. Run twice, it changes nothing.
    """

    doc_md = """
    **Triage.** `AllCopiesDamaged`: the backup is damaged and nothing was written; choose an older one. `DataError` with
    "another history": the target is not empty; name an empty one. A connection error: start the store it names, then
    clear the task. It goes on where it stopped.
    """

    def execute(self, context: Context) -> str:
        """Initialise the target if it is new, then restore."""
        database = context["params"]["airflow_database"]
        done = self._restore(context, Path(database) if database else None)
        self.log.info(
            "release %s is back from backup %s: %d manifests and %d objects, %d bytes, verified; %d pieces were new",
            done.release, done.backup, done.manifests, done.objects, done.size_bytes, done.written,
        )  # fmt: skip
        if done.erased_rows:
            self.log.warning(
                "%d rows are on record as erased; `nightshift forget --pending` says whether this backup, if it is "
                "older than that, brought some back, and which run leaves them out",
                done.erased_rows,
            )
        return done.release

    def _restore(self, context: Context, database: Path | None) -> Restored:
        from operators.core.recovery.restore import latest_backup, restore_release
        from operators.core.storage import initialise, open_store

        params = context["params"]
        settings = connections.store_settings(params["target"])
        backup = open_store(connections.backup_settings())
        try:
            digest = params["backup"] if params["backup"] != LATEST else latest_backup(backup, params["recipe"])
            initialise(settings)
            target = open_store(settings)
            try:
                done = restore_release(backup, target, digest, database=database, progress=self._progress)
                if done.written:
                    note_change(target, context, "restore", digest, f"release {done.release}")
                return done
            finally:
                target.close()
        finally:
            backup.close()

    def _progress(self, done: int, total: int, note: str) -> None:
        self.log.info("progress %d/%d %s", done, total, note)
