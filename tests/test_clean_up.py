"""Old history leaves Airflow's database, and old logs the disk."""

from __future__ import annotations

import datetime
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from operators.clean_up import clean_database, remove_older
from tests.airflow_database import BEGAN, AirflowDatabase

pytestmark = pytest.mark.integration

LATER = BEGAN + datetime.timedelta(days=50)
YESTERDAY = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)


@pytest.fixture
def airflow_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of Airflow's own."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    return tmp_path


def test_runs_of_before_go_and_the_newest_scheduled_one_stays(airflow_home: Path) -> None:
    """With their tasks and what these returned; the DAG itself, and all that is younger, stays."""
    path = airflow_home / "airflow.db"
    variables = {**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{path}"}
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=variables, check=True, capture_output=True)
    database = AirflowDatabase(path)
    for dag_id, days in (("nightly", (0, 1, 99)), ("seldom", (0, 1))):
        database.add_dag(dag_id, dag_id)
        for day in days:
            run_id = f"{dag_id}-{day}"
            began = BEGAN + datetime.timedelta(days=day)
            database.add_run(dag_id, run_id, day=day)
            database.add_task(dag_id, run_id, "work", start_date=began)
            database.add_result(dag_id, run_id, "work", "value")
    database.session.commit()
    database.close()

    rows = clean_database(path, LATER)
    with closing(sqlite3.connect(path)) as connection:
        runs = [row[0] for row in connection.execute("SELECT run_id FROM dag_run ORDER BY id")]
        tasks = [row[0] for row in connection.execute("SELECT run_id FROM task_instance ORDER BY run_id")]
        dags = [row[0] for row in connection.execute("SELECT dag_id FROM dag ORDER BY dag_id")]
    assert runs == ["nightly-99", "seldom-1"]
    assert tasks == ["nightly-99"]
    assert dags == ["nightly", "seldom"]
    assert rows > 6
    assert clean_database(path, LATER) == 0


def test_a_database_that_cannot_be_cleaned_is_told(airflow_home: Path) -> None:
    """Not swallowed, as the command itself does unless asked."""
    path = airflow_home / "airflow.db"
    AirflowDatabase(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE xcom RENAME COLUMN timestamp TO moment")

    with pytest.raises(RuntimeError, match="airflow db clean"):
        clean_database(path, LATER)


def test_logs_that_nobody_wrote_to_since_go_with_their_folders(tmp_path: Path) -> None:
    """A log that is written to stays, and so does what a link leads to."""
    old, young, outside = tmp_path / "a" / "b" / "old.log", tmp_path / "a" / "young.log", tmp_path.parent / "outside"
    for path in (old, young, outside):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("12345")
    (tmp_path / "a" / "link").symlink_to(outside)
    (tmp_path / "a" / "about to be written to").mkdir()
    for path in (old, outside):
        os.utime(path, (0, 0))

    assert remove_older(tmp_path, YESTERDAY) == (1, 5)
    assert not old.parent.exists() and young.exists() and outside.exists()
    assert (tmp_path / "a" / "about to be written to").is_dir()
    assert remove_older(None, LATER) == (0, 0)
