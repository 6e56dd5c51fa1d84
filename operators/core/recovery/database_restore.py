"""Airflow's PostgreSQL comes back with the platform: made in quarantine, reconciled there, then switched."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from operators.core.errors import DataError
from operators.core.progress import Progress, no_progress
from operators.core.recovery.base_backups import BaseBackup, base_of, opened_database, rebuild_database
from operators.core.recovery.reconcile import Reconciled, reconcile_connection
from operators.core.storage import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """A database that is whole, and that nobody finds yet."""

    base: BaseBackup
    made: Path
    """Where it is."""
    folder: Path
    """Where it will be."""

    def switch(self, store: Store, backup: Store) -> Reconciled:
        """Have the database in its folder, agreeing with a store; killed before, nothing is there."""
        with opened_database(self.base, self.made) as connection:
            done = reconcile_connection(connection, store, backup)
        self.made.rename(self.folder)
        return done


def quarantine(
    backup: Store, digest: str, folder: Path, at: datetime.datetime | None, progress: Progress = no_progress
) -> Quarantined:
    """Have the database of a backup of the platform, as it was at a moment, in a folder beside the one named.

    Args:
        backup: The backup store, with its keys.
        digest: The backup's manifest: its signature was checked, and it says which base backup belongs to it.
        folder: Where the database will be; nothing may be there.
        at: The moment; None for the end of the archived log.
        progress: Told of what is fetched.

    Raises:
        DataError: The backup names no base backup, something is in the folder, or the log cannot be replayed.
        AllCopiesDamaged: A piece is lost.
    """
    if folder.exists():
        raise DataError(f"{folder} is there already: name a folder where nothing is")
    facts = backup.manifest(digest).facts
    if not facts.get("base"):
        why = facts.get("database_skipped") or "Airflow's database was no PostgreSQL that it could reach"
        raise DataError(f"backup {digest[:12]} holds no base backup of PostgreSQL: {why}")
    base, made = base_of(backup, str(facts["base"])), folder.with_name(f"{folder.name}.restoring")
    rebuild_database(backup, base, made, at, progress)
    return Quarantined(base=base, made=made, folder=folder)
