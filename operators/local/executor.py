"""Airflow's LocalExecutor, with tasks that go on whichever of its workers is killed.

Its workers take tasks from one `SimpleQueue`, and each waits there with the queue's lock in hand: when that worker was
killed, as the kernel does when memory runs out, no other ever took a task again, and nothing was said.
"""

from __future__ import annotations

import multiprocessing
from typing import Any

from airflow.executors.local_executor import LocalExecutor


class Handover:
    """Messages of one process, each taken by one of many."""

    def __init__(self) -> None:
        self._reader, self._writer = multiprocessing.Pipe(duplex=False)
        self._taking = multiprocessing.Lock()

    def put(self, message: Any) -> None:
        """Have one of those who wait take a message."""
        self._writer.send(message)

    def get(self) -> Any:
        """Wait for a message, without the lock, and return it.

        Raises:
            EOFError: No other will come.
        """
        while True:
            self._reader.poll(None)
            with self._taking:
                # Another may have been faster.
                if self._reader.poll():
                    return self._reader.recv()

    def empty(self) -> bool:
        """Return whether nothing waits to be taken."""
        return not self._reader.poll()

    def close(self) -> None:
        """Let go of both ends."""
        self._reader.close()
        self._writer.close()


class SteadyLocalExecutor(LocalExecutor):
    """Hands tasks to its workers by a `Handover`."""

    is_mp_using_fork: bool
    activity_queue: Any

    def start(self) -> None:
        """Start the workers."""
        is_forking, self.is_mp_using_fork = self.is_mp_using_fork, False
        super().start()  # of no worker: it starts them when it forks
        self.is_mp_using_fork = is_forking
        self.activity_queue.close()
        self.activity_queue = Handover()
        self._spawn_workers_with_gc_freeze(self.parallelism)
