"""What needs a person, and how soon."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import pytest

from operators.core.deployment.client import Serving
from operators.core.overview.attention import Severity, of_broken, of_live, of_night, of_pipeline
from operators.core.overview.live import Live, Proof, ServerState, read_live, traffic
from operators.core.overview.night import Night
from operators.core.overview.runs import Approval, Run
from operators.core.overview.safekeeping import of_safety
from operators.core.overview.safety import read_backup, read_safety
from operators.core.storage import Store, open_store
from tests.core.erasure.nights import settings_of
from tests.core.overview.nights import NOON, RECIPE, pipeline_of, run_of, task

# Great Expectations, which makes the night's data set, imports a module that Python has given up.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

PROOF = Proof(evaluation="e" * 64, measure="accuracy", score=0.98, baseline_score=0.9)
LIVE = Live(
    recipe=RECIPE, release="a" * 64, model="b" * 64, version="2002-09-26-bbbb", day="2002-09-26", since=NOON,
    proof=PROOF,
)  # fmt: skip
UP = ServerState(name="one:1", serving=Serving(current=LIVE.version), counted={})
DOWN = ServerState(name="two:2", serving=None, counted={}, reason="away")


def test_a_failed_task_is_named_with_the_page_of_its_first_failed_instance() -> None:
    """What failed for want of it is not: one cause, one need."""
    run = run_of(
        task("ingest", state="failed", tries=3, failed_index=2), task("gate", state="upstream_failed"), state="failed"
    )

    [need] = of_pipeline(pipeline_of(run), NOON)

    assert (need.severity, need.what) == (Severity.ACT, "Retrain tiny: ingest failed after 3 tries.")
    assert need.target is not None
    assert need.target.task is not None
    assert need.target.task.failed_index == 2


def test_an_approval_is_asked_for() -> None:
    """A task that waits for a person's word is a need of the day."""
    waiting = pipeline_of(approvals=(Approval(run_id="r", task_id="approve", subject="Release it?"),))

    assert [(need.severity, need.what) for need in of_pipeline(waiting, NOON)] == [
        (Severity.LOOK, "Retrain tiny: Release it?")
    ]


@pytest.mark.parametrize("runs", [(), (run_of(task("discover")),)])
def test_a_schedule_that_stopped_is_noticed(runs: tuple[Run, ...]) -> None:
    """A run that was due hours ago has not begun; a paused DAG is meant to rest."""
    later = NOON + datetime.timedelta(hours=3)
    awake = pipeline_of(*runs, next_at=NOON)

    assert [need.what for need in of_pipeline(awake, later)] == [
        "Retrain tiny: the run that was due 2026-11-23 07:00 UTC has not begun."
    ]
    assert list(of_pipeline(dataclasses.replace(awake, is_paused=True), later)) == []


def test_a_weekly_schedule_is_not_taken_for_one_that_stopped() -> None:
    """Six days after its last run the next one is not due yet; and while one runs, no other begins."""
    week = datetime.timedelta(days=7)
    weekly = pipeline_of(run_of(task("drill")), next_at=NOON + week)
    running = pipeline_of(run_of(task("drill", state="running"), state="running"), next_at=NOON)

    assert list(of_pipeline(weekly, NOON + week - datetime.timedelta(days=1))) == []
    assert list(of_pipeline(running, NOON + week)) == []


def test_a_dag_whose_file_cannot_be_read_is_urgent() -> None:
    """They would not run tonight and nothing else would say so: one need for all; what nobody uses may wait."""
    used = pipeline_of(run_of(task("discover")), is_broken=True, next_at=NOON)
    other = pipeline_of(run_of(task("drill")), is_broken=True, title="Rehearse a recovery")
    unused = pipeline_of(is_broken=True, is_paused=True, title="Not in use")

    [need] = of_broken([used, other, unused])
    assert (need.severity, need.what) == (
        Severity.ACT,
        "A DAG file cannot be read, so these will not run: Retrain tiny, Rehearse a recovery.",
    )
    assert list(of_pipeline(used, NOON + datetime.timedelta(days=1))) == []
    assert list(of_broken([pipeline_of()])) == []


def test_drift_is_looked_at_and_quarantine_noted() -> None:
    """Rows that are held back every night wait for nobody."""
    rows = {"in": 100, "kept": 90, "quarantined": {"label_unknown": 10}}
    drift = {"level": "warn", "drifted": "labels by 0.31 (warn)"}
    night = Night(run=run_of(task("publish_dataset", "d" * 64)), steps=(), rows=rows, drift=drift)

    assert [need.severity for need in of_night("Mail", night)] == [Severity.LOOK, Severity.NOTE]


@pytest.mark.parametrize(
    ("servers", "severities"),
    [((UP, UP), []), ((UP, DOWN), [Severity.LOOK]), ((DOWN, DOWN), [Severity.ACT]), ((), [])],
)
def test_servers_that_do_not_serve_what_is_live_are_a_need(servers: tuple, severities: list) -> None:
    """One of several: today. All of them: now."""
    assert [need.severity for need in of_live("Mail", LIVE, servers)] == severities


def test_a_model_worse_than_its_baseline_is_looked_at() -> None:
    """A cheap probe does better: somebody should ask why."""
    poor = dataclasses.replace(LIVE, proof=dataclasses.replace(PROOF, baseline_score=0.985))

    assert ["baseline" in need.what for need in of_live("Mail", poor, (UP,))] == [True]


def test_traffic_is_the_mean_over_the_servers_that_answer() -> None:
    """A candidate at a fifth on one of two servers has a tenth; a server that is away counts for nothing."""
    split = ServerState(name="s", serving=Serving(current="old", candidate="new", share=0.2), counted={})
    whole = ServerState(name="t", serving=Serving(current="old"), counted={})

    assert traffic([split, whole, DOWN]) == pytest.approx({"old": 0.9, "new": 0.1})


def test_what_is_live_is_read_with_its_proof_and_its_age(first_night: Path) -> None:
    """Version, score and the instant at which it went live, of a store that a real night made."""
    live = read_live(open_store(settings_of(first_night)), RECIPE)

    assert live is not None
    assert live.version == f"{live.day}-{live.model[:8]}"
    assert live.proof is not None
    assert (live.proof.measure, live.proof.score, live.proof.baseline_score) == ("accuracy", 0.99, None)
    assert live.since is not None
    assert abs((datetime.datetime.now(datetime.UTC) - live.since).total_seconds()) < 3600


def test_before_the_first_night_nothing_is_live_and_nothing_backed_up(store: Store) -> None:
    """An empty store is no error."""
    assert read_live(store, RECIPE) is None
    assert read_backup(store, RECIPE) is None
    assert list(of_safety(read_safety(store), [], NOON)) == []
