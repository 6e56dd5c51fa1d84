"""Commands that run beside Airflow's PostgreSQL: one archives its log, the other makes base backups of it."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from operators.cli.answer import Answer, WrongUse
from operators.cli.commands import Commands
from operators.cli.places import backup_settings, opened

_LOOK_SECONDS = 600.0
_FROM_HOST = {"PGHOST": "host", "PGUSER": "user", "PGDATABASE": "database"}


def add_commands(commands: Commands) -> None:
    """Add this module's commands to the parser."""
    archive = commands.add(
        "archive-wal",
        archive_wal,
        "Put a file of PostgreSQL's log on the backup store, once. It is what `archive_command` names.",
        status="0 once it is there.",
        examples=("archive-wal --backup-file backup.json %p",),
        asks_which_store=False,
    )
    archive.add_argument("file", metavar="FILE", help="the path that PostgreSQL gives for %%p")
    archive.add_argument(
        "--data", default=".", metavar="FOLDER", help="PostgreSQL's data folder; default: where it is run"
    )
    _add_backup_file(archive)
    base = commands.add(
        "base-backup",
        base_backup,
        "Make a base backup of Airflow's PostgreSQL where none is young. The server is where PGHOST, PGPORT, PGUSER, "
        "PGPASSWORD and PGDATABASE say.",
        asks_which_store=False,
    )
    base.add_argument("--watch", action="store_true", help="go on, and look every ten minutes")
    _add_backup_file(base)


def _add_backup_file(parser: argparse.ArgumentParser) -> None:
    words = "settings of the backup store, with its keys; default: the platform's"
    parser.add_argument("--backup-file", metavar="FILE", help=words)


def archive_wal(options: argparse.Namespace) -> Answer:
    """Archive one file of the log."""
    from operators.core.recovery.wal import archive_file, system_of

    system = system_of(Path(options.data))
    if not Path(options.file).is_file():
        raise WrongUse(f"{options.file}: no such file; archive_command passes %p, a path below the data folder")
    with opened(backup_settings(options.backup_file)) as backup:
        done = archive_file(backup, system, Path(options.file))
    document = {"system": system, "name": done.name, "sha256": done.sha256, "stored_bytes": done.file.stored_bytes}
    return Answer(document=document, lines=(f"{done.name} is archived, {done.file.stored_bytes:,} bytes",))


def base_backup(options: argparse.Namespace) -> Answer:
    """Have a young base backup, now or from now on."""
    from operators.core.recovery.covering import cover_database
    from operators.core.recovery.postgresql import PostgresServer

    if missing := [name for name in (*_FROM_HOST, "PGPASSWORD") if not os.environ.get(name)]:
        raise WrongUse(f"set {', '.join(missing)}: where Airflow's PostgreSQL is, and a role that may replicate")
    server = PostgresServer(
        **{field: os.environ[name] for name, field in _FROM_HOST.items()},
        port=int(os.environ.get("PGPORT", "5432")),
        password=os.environ["PGPASSWORD"],
        sslmode=os.environ.get("PGSSLMODE", "prefer"),
    )
    while True:
        with opened(backup_settings(options.backup_file)) as backup:
            told = cover_database(backup, server)
        line = f"base backup {str(told.get('base'))[:12]}, the log is archived up to {told.get('log')}"
        if told.get("database_skipped"):
            line = f"no base backup was made: {told['database_skipped']}"
        if not options.watch:
            return Answer(document=told, lines=(line,), is_good="database_skipped" not in told)
        print(line, flush=True)
        time.sleep(_LOOK_SECONDS)
