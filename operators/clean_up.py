"""The operator that takes what is old and backed up off this machine: runs of Airflow's database, logs of tasks."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Param

from operators import connections

if TYPE_CHECKING:
    from airflow.sdk import Context

TABLES = (
    "callback", "dag_run", "import_error", "job", "log", "task_instance", "task_instance_history", "task_reschedule",
    "xcom",
)  # fmt: skip
"""History alone. DAGs and their versions stay, and of each DAG the newest scheduled run: the next follows from it."""
KEEP_DAYS = 90
_BATCH = 500
"""Rows a transaction: SQLite lets nobody else write meanwhile."""


def clean_form() -> dict[str, Any]:
    """Return the parameters of a run."""
    words = "Days that runs and logs of tasks are kept on this machine; backups have them for as long as they are kept."
    return {"keep_days": Param(KEEP_DAYS, words, type="integer", minimum=7, maximum=3650)}


class CleanUpOperator(BaseOperator):
    """Removes old runs from Airflow's database by `airflow db clean`, and old logs of tasks; returns what went.

    It follows the backup, in which the database is as it was before.
    """

    doc_md = """\
    **Makes** room: runs, tasks, XComs and events older than `keep_days`, and files of logs that nobody wrote to for as
    long. Results stay, they lie in the store. The newest scheduled run of each DAG stays too.

    **Triage.** *database is locked*: a retry helps. Nothing else waits for this task: look within the week. *Not
    cleaned*: the database is not SQLite on this machine; have whoever runs it call `airflow db clean` with the tables
    that the log names.
    """

    def execute(self, context: Context) -> dict[str, int]:
        """Clean once."""
        before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=context["params"]["keep_days"])
        database = connections.airflow_database_path()
        freed = 0
        if database is None:
            self.log.info("Airflow's database is not SQLite on this machine: not cleaned; tables %s", ",".join(TABLES))
        else:
            freed = clean_database(database, before)
        files, size = remove_older(connections.task_log_folder(), before)
        self.log.info("%d rows of before %s went, and %d files of logs (%d bytes)", freed, before, files, size)
        return {"rows": freed, "log_files": files, "log_bytes": size}


def clean_database(database: Path, before: datetime.datetime) -> int:
    """Have no history older than a time in Airflow's database; return how many rows went.

    Raises:
        RuntimeError: `airflow db clean` failed; the message ends with what it said.
    """
    rows = _count(database)
    command = [
        sys.executable, "-m", "airflow", "db", "clean", "--yes", "--skip-archive", "--error-on-cleanup-failure",
        "--batch-size", str(_BATCH), "--tables", ",".join(TABLES), "--clean-before-timestamp", before.isoformat(),
    ]  # fmt: skip
    # A task's own environment names a database that it cannot reach: tasks are not to.
    variables = {**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`airflow db clean` ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return rows - _count(database)


def remove_older(folder: Path | None, before: datetime.datetime) -> tuple[int, int]:
    """Have no file below a folder that was last written before a time; return how many went, and their bytes.

    A folder goes when that empties it. Another empty one may be where a task is about to write.
    """
    files = size = 0
    left = set[Path]()
    for path in sorted(folder.rglob("*"), reverse=True) if folder else ():
        if path.is_file() and not path.is_symlink() and (seen := path.stat()).st_mtime < before.timestamp():
            path.unlink()
            files, size = files + 1, size + seen.st_size
            left.add(path.parent)
        elif path in left and not any(path.iterdir()):
            path.rmdir()
            left.add(path.parent)
    return files, size


def _count(database: Path) -> int:
    """Return how many rows the tables have together."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(database)) as connection:
        return sum(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES)  # noqa: S608
