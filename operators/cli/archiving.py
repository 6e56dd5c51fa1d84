"""Commands that run beside Airflow's PostgreSQL: one archives its log, the other makes base backups of it."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

from operators.cli.answer import Answer, WrongUse
from operators.cli.places import backup_settings, opened

_LOOK_SECONDS = 600.0
_FROM_HOST = {"PGHOST": "host", "PGUSER": "user", "PGDATABASE": "database"}


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add this module's commands to the parser."""
    words = (
        "Put a file of PostgreSQL's log on the backup store, once; 0 when it is there. For `archive_command`: "
        "'nightshift archive-wal --backup-file FILE %%p'"
    )
    archive = commands.add_parser("archive-wal", parents=[shared], help=words.split(";")[0], description=words)
    archive.add_argument("file", metavar="FILE", help="the path that PostgreSQL gives for %%p")
    archive.add_argument("--data", default=".", metavar="FOLDER", help="the data folder (where archive_command runs)")
    _add_backup_file(archive)
    archive.set_defaults(command=archive_wal)
    words = (
        "Make a base backup of Airflow's PostgreSQL where none is young. The server is where PGHOST, PGPORT, PGUSER, "
        "PGPASSWORD and PGDATABASE say"
    )
    base = commands.add_parser("base-backup", parents=[shared], help=words.split(".")[0], description=words)
    base.add_argument("--watch", action="store_true", help="go on, and look every ten minutes")
    _add_backup_file(base)
    base.set_defaults(command=base_backup)


def _add_backup_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backup-file", metavar="FILE", help="settings of the backup store, with its keys")


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
