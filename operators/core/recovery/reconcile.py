"""After a restore: Airflow's database made to agree with the store, which is the truth. Nobody else has it open."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from operators.core.storage import Store
from operators.core.storage.listing import manifest_digests, result_digests, run_keys

_CUT_OFF = ("running", "queued", "scheduled", "restarting")
"""States of a task instance that a process stood behind: it is gone."""
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciled:
    """What a restored database and a store had to say to each other."""

    cleared: tuple[str, ...]
    """Task instances that ran at the cut, as `dag/run/task`: Airflow tries them again, and finds what was done."""
    dangling: tuple[str, ...]
    """Task instances that handed on a digest that the store does not hold: their runs are marked failed."""
    adopted: int
    """Results of the store that no run of the database names: a run that needs one finds it."""


def reconcile(database: Path, store: Store) -> Reconciled:
    """Make a database that was restored fit a store; again: nothing changes.

    Args:
        database: Airflow's SQLite database, which nobody has open.
        store: The store as it is now, as old as the database or younger.
    """
    held = set(manifest_digests(store))
    results = set(result_digests(store, run_keys(store)).values())
    with closing(sqlite3.connect(database)) as connection, connection:
        cleared = _clear(connection)
        named = _named(connection)
        dangling = {name: run for name, (run, digests) in named.items() if not digests <= held}
        for run in set(dangling.values()):
            connection.execute(
                "UPDATE dag_run SET state = 'failed' WHERE dag_id = ? AND run_id = ? AND state != 'failed'", run
            )
    known = {digest for _, digests in named.values() for digest in digests}
    return Reconciled(cleared=cleared, dangling=tuple(sorted(dangling)), adopted=len(results - known))


def _clear(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Have the tasks that ran at the cut tried once more; the one that was cut off does not count."""
    marks = ", ".join("?" * len(_CUT_OFF))
    where = f"state IN ({marks})"
    rows = connection.execute(
        f"SELECT dag_id, run_id, task_id, map_index FROM task_instance WHERE {where} ORDER BY 1, 2, 3, 4",  # noqa: S608
        _CUT_OFF,
    ).fetchall()
    connection.execute(
        f"UPDATE task_instance SET state = NULL, max_tries = max_tries + 1, end_date = NULL WHERE {where}",  # noqa: S608
        _CUT_OFF,
    )
    return tuple(f"{dag}/{run}/{task}" + (f"[{index}]" if index >= 0 else "") for dag, run, task, index in rows)


def _named(connection: sqlite3.Connection) -> dict[str, tuple[tuple[str, str], set[str]]]:
    """Return, by task instance, its run and the digests that it handed on."""
    rows = connection.execute("SELECT dag_id, run_id, task_id, map_index, value FROM xcom WHERE key = 'return_value'")
    named = {}
    for dag, run, task, index, value in rows:
        text = value.decode() if isinstance(value, bytes) else str(value)
        if digests := set(_DIGEST.findall(text)):
            named[f"{dag}/{run}/{task}" + (f"[{index}]" if index >= 0 else "")] = ((dag, run), digests)
    return named
