"""What the pages learn from Airflow's database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.pipelines import MOST_RUNS, read_pipelines
from tests.airflow_database import BEGAN, AirflowDatabase

MAIL, SCRUB = "retrain_mail_triage", "scrub_storage"
ONE, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def database(tmp_path: Path) -> Iterator[AirflowDatabase]:
    """A database with two DAGs of ours, and one of somebody else's."""
    made = AirflowDatabase(tmp_path / "airflow.db")
    made.add_dag(SCRUB, "Scrub the store")
    made.add_dag(MAIL, "Retrain mail triage", next_dagrun_create_after=BEGAN)
    made.add_dag("somebody_elses", "Not ours", tags=("etl",))
    yield made
    made.close()


def test_our_dags_that_the_user_may_see_are_listed(database: AirflowDatabase) -> None:
    """Those that retrain first; another team's, and those without the right, are not there."""
    found = read_pipelines(database.session, {MAIL, SCRUB, "somebody_elses"})

    assert [(one.title, one.recipe) for one in found] == [
        ("Retrain mail triage", "mail_triage"), ("Scrub the store", None),
    ]  # fmt: skip
    assert [one.dag_id for one in read_pipelines(database.session, {SCRUB})] == [SCRUB]
    assert found[0].next_at == BEGAN
    assert not found[0].is_asleep


def test_dags_of_a_file_that_cannot_be_read_any_more_stay_on_the_page(database: AirflowDatabase) -> None:
    """Airflow calls them stale; those that are meant to be gone it calls that too, and they go."""
    database.add_dag("retrain_broken", "Retrain broken", is_stale=True, has_import_errors=True)
    database.add_dag("retrain_gone", "Retrain gone", is_stale=True)
    found = read_pipelines(database.session, {MAIL, "retrain_broken", "retrain_gone"})

    assert [(one.title, one.is_broken) for one in found] == [("Retrain broken", True), ("Retrain mail triage", False)]


def test_the_newest_runs_come_first_and_no_more_than_a_page_shows(database: AirflowDatabase) -> None:
    """A manual run names its day itself, a scheduled one has it from its interval."""
    for day in range(MOST_RUNS + 6):
        database.add_run(MAIL, f"scheduled__{day}", day=day)
    database.add_run(MAIL, "manual__1", day=90, run_type="manual", conf={"day": "2002-09-26"})
    [pipeline] = read_pipelines(database.session, {MAIL})

    assert len(pipeline.runs) == MOST_RUNS
    assert [(run.run_id, run.day) for run in pipeline.runs[:2]] == [
        ("manual__1", "2002-09-26"), ("scheduled__19", "2026-12-10"),
    ]  # fmt: skip
    assert pipeline.runs[0].seconds == 600


def test_a_mapped_task_is_one_and_as_bad_as_its_worst_instance(database: AirflowDatabase) -> None:
    """Its digests are those of all groups, in their order; its page is the first failed instance's."""
    database.add_run(MAIL, "r", state="failed")
    for index, state in enumerate(("success", "failed", "success")):
        database.add_task(MAIL, "r", "ingest", state, map_index=index, try_number=1 + index)
    database.add_task(MAIL, "r", "gate", None, start_date=None, duration=None)
    for index, digest in ((2, OTHER), (0, ONE)):
        database.add_result(MAIL, "r", "ingest", json.dumps(digest), map_index=index)
    [pipeline] = read_pipelines(database.session, {MAIL})
    ingest, gate = pipeline.runs[0].tasks

    assert (ingest.state, ingest.failed_index, ingest.tries, ingest.seconds) == ("failed", 1, 3, 6.0)
    assert (ingest.digests, ingest.lost_seconds) == ((ONE, OTHER), 2.0)
    assert (gate.task_id, gate.state, gate.digests) == ("gate", "none", ())


def test_tries_that_failed_before_are_lost_and_cleared_ones_are_not(database: AirflowDatabase) -> None:
    """A task that was cleared after it succeeded wasted nothing."""
    database.add_run(MAIL, "r")
    database.add_task(MAIL, "r", "compress", try_number=3)
    database.add_former_try(MAIL, "r", "compress", "failed", try_number=1, duration=40.0)
    database.add_former_try(MAIL, "r", "compress", "success", try_number=2, duration=30.0)
    [pipeline] = read_pipelines(database.session, {MAIL})

    assert pipeline.runs[0].tasks[0].lost_seconds == 40.0


def test_a_task_that_asks_a_person_is_an_approval(database: AirflowDatabase) -> None:
    """Until somebody answered."""
    database.add_run(MAIL, "r", state="running")
    database.ask(database.add_task(MAIL, "r", "approve", "awaiting_input"), "Release it?")
    [pipeline] = read_pipelines(database.session, {MAIL})

    assert [(one.task_id, one.subject) for one in pipeline.approvals] == [("approve", "Release it?")]


def test_a_paused_dag_that_never_ran_is_asleep(database: AirflowDatabase) -> None:
    """The recipes that come along and that nobody uses take no place on the page."""
    database.add_dag("retrain_other", "Other", is_paused=True)
    [pipeline] = read_pipelines(database.session, {"retrain_other"})

    assert pipeline.is_asleep
