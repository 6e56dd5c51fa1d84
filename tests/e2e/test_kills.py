"""The main job with its processes killed: it ends all the same, with the very same model."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from operators.local.ports import SERVERS, STORES
from operators.local.services import AIRFLOW_SERVICES
from tests.e2e.bed import Bed, FaultDidNotFire, kill

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(3600)]

SERVICES = (*STORES, "balancer", *SERVERS, *AIRFLOW_SERVICES)
TASKS = (
    ("discover", "adopt_model"), ("validate",), ("ingest",), ("check_drift",), ("publish_dataset",), ("fine_tune",),
    ("evaluate", "make_candidates"), ("compress",), ("evaluate_compressed",), ("gate",), ("deploy",), ("back_up",),
)  # fmt: skip
"""In the order in which they run; those of a pair run beside each other."""
SEED = 20020926
NEW_PROCESS_SECONDS = 10.0
NEXT_TRY_SECONDS = 90.0


@pytest.fixture
def fresh_bed(make_bed: Callable[[], Bed], bed: Bed, first: dict[str, Any]) -> Iterator[Bed]:
    """An empty platform with the pseudonym key of the first, so that the same mail gives the same data set."""
    bed.stop()
    other = make_bed()
    other.layout.make()
    shutil.copy2(bed.layout.secrets / "credentials.json", other.layout.secrets / "credentials.json")
    yield other
    other.stop()


def assert_same_results(first: dict[str, Any], summary: dict[str, Any]) -> None:
    """What was made under kills is what was made without."""
    assert first["dataset"]["manifest"] == summary["dataset"]["manifest"]
    assert first["training"]["manifest"] == summary["training"]["manifest"]
    assert summary["backup"]["verified"]


def kill_task(bed: Bed, task_id: str, process: subprocess.Popen[str], *, watcher: bool, after: float = 0.0) -> float:
    """Kill a process of a task that runs, the one that watches over it or the one that works; return when."""
    pair = bed.wait_for_task(task_id, process)
    time.sleep(after)
    if not pair[1].is_running():
        raise FaultDidNotFire(f"{task_id} ended within {after:.1f} s, before it was killed")
    kill(pair[0] if watcher else pair[1])
    return time.monotonic()


def seconds_until_tried_again(bed: Bed, task_id: str, process: subprocess.Popen[str], killed_at: float) -> float:
    """Return how long it takes until a killed task's next try runs."""
    bed.wait_for(f"the second try of {task_id}", lambda: bed.tried_again(task_id), process)
    return time.monotonic() - killed_at


def test_a_killed_rank_and_a_killed_task_change_nothing_about_the_model(fresh_bed: Bed, first: dict[str, Any]):
    """A rank dies in mid-epoch: no step before the checkpoint is trained again. Its task dies: training goes on."""
    process = fresh_bed.start_run()
    saved = fresh_bed.wait_for("a checkpoint in the store", fresh_bed.saved_steps, process)
    fresh_bed.wait_for("a step after it", lambda: fresh_bed.trained_steps() > saved, process)
    former = fresh_bed.ranks()
    kill(former[-1])
    reached = fresh_bed.trained_steps()
    resumed = fresh_bed.wait_for("the step that training goes on from", fresh_bed.resumed_at, process)
    ranks = fresh_bed.ranks()
    killed_at = kill_task(fresh_bed, "fine_tune", process, watcher=True)
    survived = any(one.is_running() for one in ranks)
    seconds = seconds_until_tried_again(fresh_bed, "fine_tune", process, killed_at)
    summary = fresh_bed.finish(process)
    print({"saved": saved, "reached": reached, "resumed": resumed, "seconds": seconds})

    assert saved <= resumed < reached
    assert survived, "the ranks died with the task that waited for them"
    assert seconds < NEXT_TRY_SECONDS
    assert_same_results(first, summary)


def test_every_service_may_be_killed_during_a_run(fresh_bed: Bed, first: dict[str, Any]):
    """A killed service has a new process within 10 s; the run ends with the same model."""
    moments = random.Random(SEED)
    process = fresh_bed.start_run()
    fresh_bed.wait_for("a run", fresh_bed.active_runs, process)
    taken: dict[str, float] = {}
    for name in moments.sample(SERVICES, len(SERVICES)):
        time.sleep(moments.uniform(3, 12))
        if process.poll() is not None:
            raise FaultDidNotFire(f"the run ended before {name} was killed:\n{fresh_bed.output()}")
        former = fresh_bed.supervisor.process_id(name)
        kill(psutil.Process(former))
        killed_at = time.monotonic()
        fresh_bed.wait_for(
            f"a new {name}",
            lambda name=name, old=former: fresh_bed.supervisor.process_id(name) not in (0, old),
            process,
        )
        taken[name] = time.monotonic() - killed_at
    summary = fresh_bed.finish(process)
    print(taken)

    assert max(taken.values()) < NEW_PROCESS_SECONDS, taken
    assert_same_results(first, summary)


def test_every_task_may_be_killed_once(fresh_bed: Bed, first: dict[str, Any]):
    """Each task is tried again within 90 s of its death, and the run ends with the same model."""
    moments = random.Random(SEED)
    process = fresh_bed.start_run()
    fresh_bed.wait_for("a run", fresh_bed.active_runs, process)
    taken: dict[str, float] = {}
    for beside in TASKS:
        killed_at = {}
        for task_id in beside:
            # What takes little more than its start is killed as soon as it is seen.
            after = moments.uniform(0, 0.3) * max(0, first["seconds"][task_id] - 10)
            watcher = moments.random() < 0.5
            killed_at[task_id] = kill_task(fresh_bed, task_id, process, watcher=watcher, after=after)
        for task_id in beside:
            taken[task_id] = seconds_until_tried_again(fresh_bed, task_id, process, killed_at[task_id])
    summary = fresh_bed.finish(process)
    print(taken)

    assert max(taken.values()) < NEXT_TRY_SECONDS, taken
    assert_same_results(first, summary)


def test_an_endpoint_that_is_not_primary_may_stay_away(fresh_bed: Bed, first: dict[str, Any]):
    """With one of three endpoints down before any data was written, the whole run succeeds on the other two."""
    process = fresh_bed.start_run()
    fresh_bed.wait_for("a run", fresh_bed.active_runs, process)
    fresh_bed.supervisor.stop(["store-3"])
    if fresh_bed.has_ended("validate"):
        raise FaultDidNotFire("data was written before the endpoint went away")
    summary = fresh_bed.finish(process)

    assert fresh_bed.supervisor.states()["store-3"] == "STOPPED"
    assert summary["dataset"]["copies"] == 2
    assert_same_results(first, summary)


def nightshift(bed: Bed, *arguments: str) -> int:
    """Type a command at a platform; return its exit status."""
    command = [sys.executable, "-m", "operators.cli", *arguments]
    done = subprocess.run(command, env=bed.environment(), capture_output=True, text=True, check=False)
    print(arguments, done.stdout, done.stderr)
    return done.returncode


def test_the_primary_may_be_lost_in_a_training(fresh_bed: Bed, first: dict[str, Any]):
    """Another is made primary and the run goes on; the lost one comes back empty, is refilled, and no copy is wrong."""
    process = fresh_bed.start_run()
    fresh_bed.wait_for("a checkpoint in the store", fresh_bed.saved_steps, process)
    with contextlib.closing(fresh_bed.store()) as store:
        lost, heir = store.record.primary, next(name for name in store.record.names if name != store.record.primary)
    if not fresh_bed.ranks():
        raise FaultDidNotFire("the training had ended before the primary was lost")
    fresh_bed.supervisor.stop([lost])
    shutil.rmtree(fresh_bed.layout.endpoints / lost)
    (fresh_bed.layout.endpoints / lost).mkdir()
    assert nightshift(fresh_bed, "primary", "move", heir) == 0
    summary = fresh_bed.finish(process)

    assert fresh_bed.supervisor.states()[lost] == "STOPPED"
    assert summary["dataset"]["copies"] == 2
    assert_same_results(first, summary)
    fresh_bed.supervisor.start([lost])
    deadline = time.monotonic() + NEXT_TRY_SECONDS
    while (status := nightshift(fresh_bed, "resync", lost)) and time.monotonic() < deadline:
        time.sleep(1)  # it answers once its parts have found each other
    assert status == 0
    assert nightshift(fresh_bed, "scrub", "--all") == 0
    with contextlib.closing(fresh_bed.store()) as store:
        assert store.record.primary == heir
        released = store.manifest(store.manifest(summary["release"]["manifest"]).input("model").manifest)
        assert {store.copies(entry) for entry in released.files} == {3}
