"""After a restore: Airflow's database made to agree with the store, which is the truth. Nobody else has it open."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.core.storage import Store
from operators.core.storage.listing import manifest_digests, result_digests, run_keys

_CUT_OFF = ("running", "queued", "scheduled", "restarting")
"""States of a task instance that a process stood behind: it is gone."""
Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Puts one statement to a database, its values marked by `?`, and returns the rows of the answer."""
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciled:
    """What a restored database and a store had to say to each other."""

    cleared: tuple[str, ...]
    """Task instances that ran at the cut, as `dag/run/task`: Airflow tries them again, and finds what was done."""
    dangling: tuple[str, ...]
    """Task instances that handed on a digest that neither store holds: their runs are marked failed."""
    adopted: int
    """Results of the store that no run of the database names: a run that needs one finds it."""


def reconcile(database: Path, store: Store, backup: Store) -> Reconciled:
    """Make a SQLite database that was restored, which nobody has open, fit a store: as `reconcile_rows`."""
    with closing(sqlite3.connect(database)) as connection, connection:
        return reconcile_rows(lambda text, values: connection.execute(text, values).fetchall(), store, backup)


def reconcile_connection(connection: Any, store: Store, backup: Store) -> Reconciled:
    """Make a PostgreSQL database that was restored fit a store: as `reconcile_rows`; the caller commits."""

    def ask(text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(text.replace("?", "%s"), values)
            return list(cursor.fetchall()) if cursor.description else []

    return reconcile_rows(ask, store, backup)


def reconcile_rows(ask: Ask, store: Store, backup: Store) -> Reconciled:
    """Make a database that was restored fit a store; again: nothing changes.

    Args:
        ask: Puts a statement to Airflow's database, which nobody else has open.
        store: The store as it is now, as old as the database, younger, or older.
        backup: Where it came from: the tasks that back up hand on digests of what lies there.
    """
    held = set(manifest_digests(store)) | set(manifest_digests(backup))
    results = set(result_digests(store, run_keys(store)).values())
    cleared = _clear(ask)
    named = _named(ask)
    dangling = {name: run for name, (run, digests) in named.items() if not digests <= held}
    for run in set(dangling.values()):
        ask("UPDATE dag_run SET state = 'failed' WHERE dag_id = ? AND run_id = ? AND state != 'failed'", run)
    known = {digest for _, digests in named.values() for digest in digests}
    return Reconciled(cleared=cleared, dangling=tuple(sorted(dangling)), adopted=len(results - known))


def _clear(ask: Ask) -> tuple[str, ...]:
    """Have the tasks that ran at the cut tried once more; the one that was cut off does not count."""
    marks = ", ".join("?" * len(_CUT_OFF))
    where = f"state IN ({marks})"
    rows = ask(
        f"SELECT dag_id, run_id, task_id, map_index FROM task_instance WHERE {where} ORDER BY 1, 2, 3, 4",  # noqa: S608
        _CUT_OFF,
    )
    ask(
        f"UPDATE task_instance SET state = NULL, max_tries = max_tries + 1, end_date = NULL WHERE {where}",  # noqa: S608
        _CUT_OFF,
    )
    return tuple(_name(*row) for row in rows)


def _named(ask: Ask) -> dict[str, tuple[tuple[str, str], set[str]]]:
    """Return, by task instance, its run and the digests that it handed on."""
    rows = ask(
        "SELECT dag_id, run_id, task_id, map_index, CAST(value AS TEXT) FROM xcom WHERE key = 'return_value'", ()
    )
    found = {(dag, run, task, index): set(_DIGEST.findall(value or "")) for dag, run, task, index, value in rows}
    return {_name(*one): (one[:2], digests) for one, digests in found.items() if digests}


def _name(dag: str, run: str, task: str, index: int) -> str:
    return f"{dag}/{run}/{task}" + (f"[{index}]" if index >= 0 else "")
