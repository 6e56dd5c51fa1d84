"""The main job over Celery: two workers on Redis, one of which is killed while it trains."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

import pytest

from operators.local.rest import AirflowRest
from tests.e2e.bed import DAG_ID, Bed, FaultDidNotFire, watcher_and_worker
from tests.e2e.cluster import WORKERS, Cluster, clustered, need_servers

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture
def cluster(make_bed: Callable[[], Bed]) -> Iterator[Cluster]:
    """An Airflow over Celery with the input of a small night in place."""
    need_servers()
    with clustered(make_bed()) as cluster:
        yield cluster


def test_a_worker_that_dies_in_a_training_costs_a_try_and_nothing_else(cluster: Cluster) -> None:
    """The other worker takes the task over and the night ends with a release; no worker was given the database."""
    rest = cluster.bed.rest
    run_id = cluster.begin_night(epochs=1)

    given = cluster.environment_of(WORKERS[0])
    assert not any("SQL_ALCHEMY_CONN" in name or "JWT_SECRET" in name for name in given)

    killed = kill_the_worker_of(cluster, rest, run_id, "fine_tune")
    state = cluster.wait_for_end(run_id)
    instances = {item["task_id"]: item for item in rest.task_instances(DAG_ID, run_id) if item["map_index"] < 0}

    assert state == "success", {name: cluster.log(name) for name in (*WORKERS, "scheduler")}
    assert instances["fine_tune"]["try_number"] == 2
    assert killed in WORKERS
    with contextlib.closing(cluster.bed.store()) as store:
        head = store.stream("release-mail_triage").head()
        assert head is not None
        assert store.manifest(head.manifest).stage == "release"


def kill_the_worker_of(cluster: Cluster, rest: AirflowRest, run_id: str, task_id: str, seconds: float = 1800) -> str:
    """Kill the worker that runs a task, once the task's own process is at work; return its name."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ids = {item["id"] for item in rest.task_instances(DAG_ID, run_id) if item["task_id"] == task_id}
        pair = watcher_and_worker(ids) if ids else None
        if pair is not None and cluster.bed.ranks():
            name = cluster.worker_of(pair[0])
            cluster.kill(name)
            return name
        assert rest.run(DAG_ID, run_id)["state"] not in ("success", "failed"), cluster.log("scheduler")
        time.sleep(0.5)
    raise FaultDidNotFire(f"{task_id} was never seen at work (load {os.getloadavg()[0]:.1f})")
