"""The executor of the one-machine platform: a killed worker takes nothing from the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from operators.local.executor import SteadyLocalExecutor


@pytest.fixture
def executor() -> Iterator[SteadyLocalExecutor]:
    """An executor of one worker; whatever lives of it at the end is killed."""
    one = SteadyLocalExecutor(parallelism=1)
    one.start()
    yield one
    for child in psutil.Process().children():
        if child.pid in one.workers:
            child.kill()


def _wait_until_it_waits(pid: int) -> None:
    """Return when a worker has long had nothing to do."""
    since, deadline = time.monotonic(), time.monotonic() + 30
    while time.monotonic() - since < 0.5 and time.monotonic() < deadline:
        if psutil.Process(pid).status() != psutil.STATUS_SLEEPING:
            since = time.monotonic()
        time.sleep(0.02)


def test_a_worker_killed_while_it_waits_leaves_the_queue_to_the_others(executor: SteadyLocalExecutor) -> None:
    """The second takes what comes: here the word that it may go, for which the executor's end waits."""
    [first] = executor.workers
    _wait_until_it_waits(first)
    executor._spawn_worker()
    _wait_until_it_waits(max(executor.workers))

    executor.workers[first].kill()
    executor.workers[first].join()
    ending = threading.Thread(target=executor.end, daemon=True)
    ending.start()
    ending.join(20)

    assert not ending.is_alive()


def test_messages_are_taken_once_and_in_their_order(executor: SteadyLocalExecutor) -> None:
    """As from the queue that it stands for."""
    queue = type(executor.activity_queue)()
    for number in range(3):
        queue.put(number)

    assert [queue.get() for _ in range(3)] == [0, 1, 2]
    assert queue.empty()
    queue.close()
