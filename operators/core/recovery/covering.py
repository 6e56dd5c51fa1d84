"""Airflow's PostgreSQL in a backup of the platform: the base backup that covers it, and how far the archived log is."""

from __future__ import annotations

import datetime
from typing import Any

from operators.core.recovery import wal
from operators.core.recovery.base_backups import BaseBackup, make_base, newest_base
from operators.core.recovery.postgresql import PostgresServer, ProgramsMissing
from operators.core.storage import Store

BASE_SECONDS = 20 * 3600.0
"""A base backup is younger than this: one a night, and each release between two nights adds its part of the log."""
LAG_SECONDS = 300.0
"""A log that is archived each minute and older than this is not archived any more: a base backup takes its place."""


def cover_database(backup: Store, server: PostgresServer | None) -> dict[str, Any]:
    """Return what a backup says of Airflow's PostgreSQL, once a base backup and the log after it are there.

    A base backup is made where none is young or the log behind it has stopped, and a server may be asked.

    Returns:
        `base`, its digest, or None; `log`, the newest archived segment after it; `log_lag_seconds`, how long ago any
        segment came, None where none ever did; and `database_skipped`, why there is no base backup, or no new one.

    Raises:
        SourceUnavailable: The server is away, or refuses.
    """
    base, skipped = newest_base(backup), None
    now = backup.membership.clock()
    if server is not None and not (base and _is_young(base, now) and _is_followed(backup, base, now)):
        try:
            base = make_base(backup, server)
        except ProgramsMissing as missing:
            skipped = str(missing)
    if base is None:
        return {"base": None, "database_skipped": skipped} if skipped else {}
    newest, archived_at = _newest(backup, base), log_archived_at(backup, base)
    return {
        "base": base.digest,
        "log": newest[0] if newest else None,
        "log_lag_seconds": None if archived_at is None else round(max(0.0, now - archived_at), 1),
        "database": True,
        **({"database_skipped": skipped} if skipped else {}),
    }


def log_archived_at(backup: Store, base: BaseBackup) -> float | None:
    """Return when the newest segment of a base backup's database was archived, before it or after, None before any.

    Returns:
        Seconds since 1970, by the backup store's clock.
    """
    held = wal.archived_names(backup, base.system)
    return max((at for name, at in held.items() if wal.SEGMENT.fullmatch(name)), default=None)


def _is_young(base: BaseBackup, now: float) -> bool:
    limit = datetime.datetime.fromtimestamp(now - BASE_SECONDS, datetime.UTC)
    return base.whole_at > limit


def _is_followed(backup: Store, base: BaseBackup, now: float) -> bool:
    newest = _newest(backup, base)
    return newest is not None and now - newest[1] < LAG_SECONDS


def _newest(backup: Store, base: BaseBackup) -> tuple[str, float] | None:
    """Return the newest archived segment that follows a base backup and when it came, None where none does."""
    held = wal.archived_names(backup, base.system)
    after = [name for name in held if wal.SEGMENT.fullmatch(name) and wal.is_within(name, base.start, None)]
    last = max(after, key=lambda name: (name[8:], name), default=None)
    return None if last is None else (last, held[last])
