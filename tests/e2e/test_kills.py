"""The main job with its processes killed: it ends all the same, with the very same model."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.e2e.bed import Bed, FaultDidNotFire, kill

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1800)]

SERVICES = ("server-1", "scheduler", "api-server", "store-2", "store-1")
TASKS = (
    "discover", "adopt_model", "validate", "ingest", "publish_dataset", "fine_tune", "evaluate", "compress",
    "evaluate_compressed", "gate", "deploy", "back_up",
)  # fmt: skip
SEED = 20020926


@pytest.fixture
def fresh_bed(make_bed: Callable[[], Bed], bed: Bed, first: dict[str, Any]) -> Iterator[Bed]:
    """An empty platform with the pseudonym key of the first, so that the same mail gives the same data set."""
    bed.stop()
    other = make_bed()
    other.layout.make()
    shutil.copy2(bed.layout.secrets / "credentials.json", other.layout.secrets / "credentials.json")
    yield other
    other.stop()


def kill_task(bed: Bed, task_id: str, process: subprocess.Popen[str]) -> None:
    """Kill the process of a task that runs; a task that ended just before was not hit."""
    task: psutil.Process = bed.wait_for(f"the process of {task_id}", lambda: bed.task_process(task_id), process)
    kill(task)


def seconds_until_tried_again(bed: Bed, task_id: str, process: subprocess.Popen[str]) -> float:
    """Return how long it takes until a killed task's next try runs."""
    killed_at = time.monotonic()
    bed.wait_for(f"the second try of {task_id}", lambda: bed.tried_again(task_id), process)
    return time.monotonic() - killed_at


def test_a_killed_rank_and_a_killed_task_change_nothing_about_the_model(fresh_bed: Bed, first: dict[str, Any]):
    """Training goes on from its checkpoint when a rank dies, and goes on when the task that waits for it dies."""
    process = fresh_bed.start_run()
    fresh_bed.wait_for("a training rank", fresh_bed.ranks, process)
    time.sleep(3)
    former = fresh_bed.ranks()
    kill(former[-1])
    # torchrun ends the whole gang when one of it dies: only processes of neither are started again.
    gone = {one.pid for one in former}
    ranks = fresh_bed.wait_for(
        "ranks started again", lambda: [one for one in fresh_bed.ranks() if one.pid not in gone], process
    )
    kill_task(fresh_bed, "fine_tune", process)
    survived = any(one.is_running() for one in ranks)
    seconds = seconds_until_tried_again(fresh_bed, "fine_tune", process)
    summary = fresh_bed.finish(process)

    assert survived, "the ranks died with the task that waited for them"
    assert seconds < 90
    assert first["training"]["manifest"] == summary["training"]["manifest"]
    assert first["dataset"]["manifest"] == summary["dataset"]["manifest"]


def test_every_service_may_be_killed_during_a_run(fresh_bed: Bed, first: dict[str, Any]):
    """A killed service has a new process within 10 s; the run ends with the same model."""
    moments = random.Random(SEED)
    process = fresh_bed.start_run()
    fresh_bed.wait_for("a run", lambda: fresh_bed.active_runs(), process)
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

    assert max(taken.values()) < 10, taken
    assert first["training"]["manifest"] == summary["training"]["manifest"]


def test_every_task_may_be_killed_once(fresh_bed: Bed, first: dict[str, Any]):
    """Each task is tried again within 90 s of its death, and the run ends with the same model."""
    process = fresh_bed.start_run()
    taken: dict[str, float] = {}
    for task_id in TASKS:
        kill_task(fresh_bed, task_id, process)
        taken[task_id] = seconds_until_tried_again(fresh_bed, task_id, process)
    summary = fresh_bed.finish(process)

    assert max(taken.values()) < 90, taken
    assert first["training"]["manifest"] == summary["training"]["manifest"]


def test_an_endpoint_that_is_not_primary_may_stay_away(fresh_bed: Bed, first: dict[str, Any]):
    """With one of three endpoints down from the start, the whole run succeeds on the other two."""
    process = fresh_bed.start_run()
    fresh_bed.wait_for("a run", lambda: fresh_bed.active_runs(), process)
    fresh_bed.supervisor.stop(["store-3"])
    summary = fresh_bed.finish(process)

    assert summary["dataset"]["copies"] == 2
    assert first["training"]["manifest"] == summary["training"]["manifest"]
