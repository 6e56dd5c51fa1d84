"""The operator that backs up the whole platform."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from operators import connections
from operators.trail import note_change

if TYPE_CHECKING:
    from airflow.sdk import Context


class BackUpPlatformOperator(BaseOperator):
    """Copies the store, Airflow's database and the platform's secrets to the backup store; returns the backup's digest.

    Args:
        code: The folder of DAGs, then files that belong to it.
    """

    doc_md = """\
    **Makes** a backup of everything: each slot and file of the store that is kept, Airflow's database, its connections
    and variables, and the keys, sealed for the recovery keys. Only what is new is copied, and read back.

    **Triage.** `QuorumLost` or a connection error: a store is down or full; start it, then clear the task.
    `AllCopiesDamaged`: the *store* has lost something that it should keep; `nightshift scrub --all`, then restore that
    from an older backup. A warning that there is no recovery key: `nightshift recovery-key FILE` (docs/recovery.md).
    """

    def __init__(self, *, code: Sequence[Path], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.code = [str(path) for path in code]

    def execute(self, context: Context) -> str:
        """Back up once; a run that finds nothing new copies Airflow's database only."""
        from operators.core.recovery.back_up_platform import Surroundings, back_up_platform
        from operators.core.signing import Signer
        from operators.core.storage import open_store

        settings, recovery = connections.store_settings(), connections.recovery_settings()
        around = Surroundings(
            store=settings,
            database=connections.airflow_database_path(),
            server=connections.airflow_server(),
            fernet_keys=connections.fernet_keys(),
            files=recovery.files,
            code=tuple(Path(path) for path in self.code),
            recipients=recovery.public_keys,
        )
        store, backup = open_store(settings), open_store(connections.backup_settings())
        try:
            signer = Signer(connections.signing_key())
            done = back_up_platform(store, backup, around, signer=signer, progress=self._progress)
            note_change(store, context, "back up platform", done.digest)
        finally:
            backup.close()
            store.close()
        self.log.info("%s", dict(done.manifest.facts))
        if skipped := done.manifest.facts.get("database_skipped"):
            self.log.warning("Airflow's PostgreSQL got no new base backup: %s", skipped)
        elif not done.manifest.facts["database"]:
            self.log.warning("no database of Airflow's is in this backup: docs/recovery.md says what each one needs")
        if not recovery.has_keeper:
            self.log.warning(
                "no recovery key is kept outside this platform: when its secrets are lost, no backup can be opened. "
                "`nightshift recovery-key FILE` makes one"
            )
        return done.digest

    def _progress(self, done: int, total: int, note: str) -> None:
        if done % 100 == 0 or done == total:
            self.log.info("progress %d/%d %s", done, total, note)
