"""The operator that brings a backup into an empty place."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from operators import connections
from operators.restore_form import LATEST, PLATFORM
from operators.trail import note_change

if TYPE_CHECKING:
    from airflow.sdk import Context

    from operators.core.recovery.restore import Restored
    from operators.core.recovery.restore_platform import RestoredPlatform
    from operators.core.storage import Store


class RestoreOperator(BaseOperator):
    """Restores the backup that the run's form names; returns the digest of the release, or of the platform's backup.

    The whole backup is read and hashed before anything is written. Run twice, it changes nothing.
    """

    doc_md = """
    **Triage.** `AllCopiesDamaged`: the backup is damaged and nothing was written; choose an older one. `DataError` with
    "another history": the target is not empty; name an empty one. A connection error: start the store it names, then
    clear the task. It goes on where it stopped.
    """

    def execute(self, context: Context) -> str:
        """Initialise the target if it is new, then restore."""
        done = self._restore(context)
        self.log.info("restored from backup %s: %s", done.backup, dataclasses.asdict(done))
        if done.erased_rows:
            self.log.warning(
                "%d rows are on record as erased; `nightshift forget --pending` says whether this backup, if it is "
                "older than that, brought some back, and which run leaves them out",
                done.erased_rows,
            )
        return str(getattr(done, "release", done.backup))

    def _restore(self, context: Context) -> Restored | RestoredPlatform:
        from operators.core.storage import initialise, open_store

        params = context["params"]
        settings = connections.store_settings(params["target"])
        backup = open_store(connections.backup_settings())
        try:
            digest = self._choose(backup, params)
            initialise(settings)
            target = open_store(settings)
            try:
                done = self._bring(backup, target, digest, params)
                if done.written:
                    note_change(
                        target, context, "restore", digest, f"{params['recipe']} {params['only'] or ''}".strip()
                    )
                return done
            finally:
                target.close()
        finally:
            backup.close()

    def _choose(self, backup: Store, params: Mapping[str, Any]) -> str:
        from operators.core.recovery.backups import choose
        from operators.core.recovery.restore import latest_backup

        if params["backup"] != LATEST:
            return str(params["backup"])
        if params["recipe"] != PLATFORM:
            return latest_backup(backup, params["recipe"])
        return choose(backup, datetime.datetime.fromisoformat(params["at"]) if params["at"] else None).backup

    def _bring(
        self, backup: Store, target: Store, digest: str, params: Mapping[str, Any]
    ) -> Restored | RestoredPlatform:
        from operators.core.recovery.restore import restore_release
        from operators.core.recovery.restore_platform import restore_platform

        path = Path(params["airflow_database"]) if params["airflow_database"] else None
        if params["recipe"] != PLATFORM:
            return restore_release(backup, target, digest, database=path, progress=self._progress)
        return restore_platform(backup, target, digest, only=params["only"], database=path, progress=self._progress)

    def _progress(self, done: int, total: int, note: str) -> None:
        self.log.info("progress %d/%d %s", done, total, note)
