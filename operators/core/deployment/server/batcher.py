"""Adaptive batching: requests for one version that wait together are computed together, and no more may wait than fit.

Nothing waits for a batch to fill. Whoever comes while a thread is free is computed at once and alone; what gathers
while all of them compute is the next batch. So batches grow with the load, and only with it.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from operators.core.deployment.server.limits import Limits
from operators.core.deployment.server.metrics import ServerMetrics
from operators.core.deployment.server.versions import Resident

if TYPE_CHECKING:
    from operators.core.models.classifier import Answer

LEARNING = 0.2
"""Weight of the newest batch in what a text is expected to take."""
MOST_THREADS = 4
"""Of one server by itself: beyond them a second server is better, for Python's part of the work is one thread's."""
BATCH = 0.1
"""Share of a request's time that a batch is expected to take at most: who comes meanwhile waits for its end."""
WAITING = 0.4
"""Share of a request's time that it may be expected to wait: the rest is for computing it, for its wait before it was
read, and for wrong guesses. More would fill the queue with answers that come too late, and cost what others need."""


class Overloaded(RuntimeError):
    """There is no room, or no time left: the same request may be sent again after `retry_seconds`."""

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(message, retry_seconds)
        self.retry_seconds = max(1, math.ceil(retry_seconds))

    def __str__(self) -> str:
        return str(self.args[0])


class QueueFull(Overloaded):
    """More would wait than may, or longer than the request has time."""


class TooLate(Overloaded):
    """The request's time ran out before it was answered."""


@dataclass(slots=True, eq=False)
class _Job:
    resident: Resident
    texts: Sequence[str]
    future: asyncio.Future[list[Answer]]
    until: float
    """When its time runs out."""
    queued_at: float = field(default_factory=time.monotonic)


class Batcher:
    """Runs models in threads of its own, so that health and metrics answer while they compute."""

    def __init__(self, limits: Limits, metrics: ServerMetrics) -> None:
        """Compute nothing yet."""
        self._limits, self._metrics = limits, metrics
        # More threads than cores would only take turns with each other, and with the loop that answers and refuses.
        self._parallel = limits.parallel or min(MOST_THREADS, len(os.sched_getaffinity(0)))
        self._changed = threading.Condition()
        self._queue: deque[_Job] = deque()
        self._waiting_texts = 0
        self._seconds_per_text = 0.0
        self._is_open = False
        self._threads: list[threading.Thread] = []
        metrics.watch_queue(lambda: self._waiting_texts)

    def open(self) -> None:
        """Start computing."""
        self._is_open = True
        for number in range(self._parallel):
            thread = threading.Thread(target=self._work, name=f"inference-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Return when what is being computed is done; what still waits is given up."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def check_room(self, texts: int = 1, seconds: float = math.inf) -> None:
        """Return if that many texts may wait and would be answered in time, as far as it can be told.

        Raises:
            QueueFull: They may not.
        """
        waiting = self._waiting_texts
        expected = waiting * self._seconds_per_text / self._parallel
        if waiting and waiting + texts > self._limits.queue_texts:
            raise QueueFull(f"{waiting} texts wait already, at most {self._limits.queue_texts} may", expected)
        if expected > seconds * WAITING:
            raise QueueFull(f"an answer would take {expected:.1f} s, there are {seconds:.1f} s for it", expected)

    async def answers(self, resident: Resident, texts: Sequence[str], seconds: float) -> list[Answer]:
        """Return a version's answers.

        Args:
            resident: The version.
            texts: At least one.
            seconds: How long that may take.

        Raises:
            QueueFull: There is no room for it now.
            TooLate: The time ran out.
            Exception: Whatever the model raised on these texts.
        """
        loop = asyncio.get_running_loop()
        job = _Job(resident, texts, loop.create_future(), time.monotonic() + seconds)
        with self._changed:
            self.check_room(len(texts), seconds)
            self._queue.append(job)
            self._waiting_texts += len(texts)
            self._changed.notify()
        try:
            # A future that was cancelled, by the time or with its caller, is not computed any more.
            async with asyncio.timeout(seconds):
                return await job.future
        except TimeoutError:
            raise TooLate(f"no answer within {seconds:.3g} s", self._waiting_texts * self._seconds_per_text) from None

    def _work(self) -> None:
        while batch := self._next_batch():
            begun = time.monotonic()
            outcomes = self._compute(batch)
            seconds, texts = time.monotonic() - begun, sum(len(job.texts) for job in batch)
            before = self._seconds_per_text or seconds / texts
            self._seconds_per_text = (1 - LEARNING) * before + LEARNING * seconds / texts
            version = batch[0].resident.version
            self._metrics.computed(version, texts, seconds, [begun - job.queued_at for job in batch])
            batch[0].future.get_loop().call_soon_threadsafe(_settle, batch, outcomes)

    def _next_batch(self) -> list[_Job]:
        """Wait for work; return requests for one version in the order they came, nothing when closed."""
        with self._changed:
            while self._is_open:
                if batch := self._take():
                    return batch
                self._changed.wait()
            return []

    def _take(self) -> list[_Job]:
        """Return the request that waits longest, and those for the same version behind it as far as they fit.

        What would come too late with them is dropped, and refused when its time runs out: computed for nobody it would
        only make the next ones late. The first is computed in any case, for what a text takes is learnt from it.
        """
        now = time.monotonic()
        batch, texts, rest, most = list[_Job](), 0, deque[_Job](), self._most_texts()
        for job in self._queue:
            size = len(job.texts)
            fits = job.resident is batch[0].resident and texts + size <= most if batch else True
            is_late = batch and job.until < now + (texts + size) * self._seconds_per_text
            if job.future.cancelled() or is_late:
                self._waiting_texts -= size
            elif fits:
                batch.append(job)
                texts += size
            else:
                rest.append(job)
        self._queue, self._waiting_texts = rest, self._waiting_texts - texts
        return batch

    def _most_texts(self) -> int:
        """Return how many texts may be computed together: fewer where each takes long."""
        seconds = max(self._seconds_per_text, 1e-6)
        return min(self._limits.batch_texts, int(BATCH * self._limits.request_seconds / seconds))

    def _compute(self, batch: Sequence[_Job]) -> list[list[Answer] | Exception]:
        """Return each request's answers, or what the model raised on it: one bad text fails its own request only."""
        try:
            answers = batch[0].resident.classifier.answers([text for job in batch for text in job.texts])
        except Exception as error:  # whatever a model's graph raises: it must not take the server along
            return [error] if len(batch) == 1 else [self._compute([job])[0] for job in batch]
        ends = [0]
        for job in batch:
            ends.append(ends[-1] + len(job.texts))
        return [answers[start:end] for start, end in itertools.pairwise(ends)]


def _settle(batch: Sequence[_Job], outcomes: Sequence[list[Answer] | Exception]) -> None:
    for job, outcome in zip(batch, outcomes, strict=True):
        if job.future.done():
            continue
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)
