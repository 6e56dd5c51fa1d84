"""Airflow's database after a restore agrees with the store, and nothing dangles silently."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from operators.core.recovery.reconcile import reconcile
from operators.core.storage import Store
from tests.core.recovery.conftest import make_release

RUN = ("retrain_mail", "manual__1")
TABLES = """
CREATE TABLE dag_run (dag_id, run_id, state);
CREATE TABLE task_instance (dag_id, run_id, task_id, map_index, state, try_number, max_tries, end_date);
CREATE TABLE xcom (dag_id, run_id, task_id, map_index, key, value);
"""
"""The columns of Airflow 3.3's tables that are read or written; the test below holds them against Airflow's own."""


@pytest.fixture
def airflow_db(tmp_path: Path) -> Path:
    """A database with one run and four task instances, two of which ran at the cut."""
    path = tmp_path / "airflow.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(TABLES)
        connection.execute("INSERT INTO dag_run VALUES (?, ?, 'running')", RUN)
        for task, index, state in (
            ("discover", -1, "success"),
            ("validate", 0, "running"),
            ("validate", 1, "queued"),
            ("ingest", -1, None),
        ):
            row = (*RUN, task, index, state, 1, 5, None)
            connection.execute("INSERT INTO task_instance VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    return path


def hand_on(path: Path, task: str, value: str, run: tuple[str, str] = RUN) -> None:
    """Have a task instance's return value in the database."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO xcom VALUES (?, ?, ?, -1, 'return_value', ?)", (*run, task, value))


def rows(path: Path, question: str) -> Iterable[tuple[Any, ...]]:
    """Return what the database answers."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchall()


def test_what_ran_at_the_cut_is_tried_again(store: Store, airflow_db: Path) -> None:
    """And has one more try for the one that was cut off; what was done stays done; again: nothing changes."""
    done = reconcile(airflow_db, store)

    assert done.cleared == ("retrain_mail/manual__1/validate[0]", "retrain_mail/manual__1/validate[1]")
    assert rows(airflow_db, "SELECT state, max_tries FROM task_instance ORDER BY task_id, map_index") == [
        ("success", 5), (None, 5), (None, 6), (None, 6),
    ]  # fmt: skip
    assert reconcile(airflow_db, store).cleared == ()


def test_a_run_that_names_what_is_not_there_is_marked_failed(store: Store, airflow_db: Path) -> None:
    """And told of, whether it names one digest or a list; a run that names what is there is left alone."""
    release = make_release(store, "2002-09-01", b"one")
    hand_on(airflow_db, "deploy", f'"{release}"', run=("retrain_mail", "manual__0"))
    hand_on(airflow_db, "discover", f'["{release}", "{"0" * 64}"]')
    done = reconcile(airflow_db, store)

    assert done.dangling == ("retrain_mail/manual__1/discover",)
    assert rows(airflow_db, "SELECT state FROM dag_run") == [("failed",)]


def test_results_that_no_run_names_are_counted(store: Store, airflow_db: Path) -> None:
    """They are younger than the database, or another's: a run that needs one finds it."""
    release = make_release(store, "2002-09-01", b"one")
    hand_on(airflow_db, "deploy", f'"{release}"')

    assert reconcile(airflow_db, store).adopted == 4


def test_airflow_has_the_tables_that_are_read() -> None:
    """Every column of the tables above is one of the installed Airflow's models."""
    pytest.importorskip("airflow")
    from airflow.models import DagRun, TaskInstance
    from airflow.models.xcom import XComModel

    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(TABLES)
        for model in (DagRun, TaskInstance, XComModel):
            table = model.__table__
            ours = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
            assert ours <= {column.name for column in table.columns}
