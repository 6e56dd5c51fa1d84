"""Two schedulers on one PostgreSQL: the one that queued the training is killed while it goes on."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from operators.core.storage.graph import closure
from tests.e2e.bed import DAG_ID, Bed
from tests.e2e.cluster import Cluster, clustered, eventually, need_servers

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]
SCHEDULERS = ("scheduler-1", "scheduler-2")


@pytest.fixture
def cluster(make_bed: Callable[[], Bed]) -> Iterator[Cluster]:
    """An Airflow with two schedulers, and the input of a small night in place."""
    need_servers()
    with clustered(make_bed(), SCHEDULERS) as cluster:
        yield cluster


def test_a_scheduler_that_dies_in_a_training_costs_nothing(cluster: Cluster) -> None:
    """The other one takes over what it had queued: the night ends green, and every result was made by one try."""
    rest = cluster.bed.rest
    run_id = cluster.begin_night(epochs=1)

    eventually(lambda: bool(cluster.bed.ranks()), "the training", 1800)
    killed = cluster.scheduler_of(run_id, "fine_tune")
    cluster.kill(killed)
    assert cluster.bed.ranks(), "the training had ended before the scheduler was killed"
    state = cluster.wait_for_end(run_id)

    (left,) = set(SCHEDULERS) - {killed}
    assert state == "success", cluster.log(left)
    tries = {item["task_id"]: item["try_number"] for item in rest.task_instances(DAG_ID, run_id)}
    assert tries["fine_tune"] == 1
    with contextlib.closing(cluster.bed.store()) as store:
        head = store.stream("release-mail_triage").head()
        assert head is not None
        made = Counter(
            manifest.stage
            for manifest in closure(store, [head.manifest]).values()
            for account in store.accounts(manifest.run_key)
            if account["outcome"] == "made" and manifest.stage == "fine_tune"
        )
    assert made == {"fine_tune": 1}
