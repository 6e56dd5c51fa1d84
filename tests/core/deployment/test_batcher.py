"""Batching: what waits together is computed together, and what cannot be answered in time is refused."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from operators.core.deployment.server.batcher import Batcher, QueueFull, TooLate
from operators.core.deployment.server.limits import Limits
from operators.core.deployment.server.metrics import ServerMetrics
from operators.core.deployment.server.traffic import Traffic
from operators.core.deployment.server.versions import Resident
from operators.core.models.classifier import Answer

LIMITS = Limits(parallel=1, batch_texts=4, queue_texts=8, request_texts=8, request_seconds=600)


class Gated:
    """A classifier that answers when it is let, and notes what it computed together."""

    def __init__(self) -> None:
        self.open, self.begun = threading.Event(), threading.Event()
        self.batches: list[list[str]] = []

    def answers(self, texts: Sequence[str]) -> list[Answer]:
        """Return each text as its label."""
        self.begun.set()
        assert self.open.wait(10)
        if "bad" in texts:
            raise FloatingPointError("bad")
        self.batches.append(list(texts))
        return [Answer(text, 1.0) for text in texts]


def _resident(version: str, classifier: Gated) -> Resident:
    return Resident(version=version, release=version, model=version, classifier=cast(Any, classifier))


@contextlib.asynccontextmanager
async def _batcher(limits: Limits = LIMITS) -> AsyncIterator[tuple[Batcher, ServerMetrics]]:
    metrics = ServerMetrics("m", cast(Any, SimpleNamespace(traffic=Traffic())))
    batcher = Batcher(limits, metrics)
    batcher.open()
    try:
        yield batcher, metrics
    finally:
        await asyncio.to_thread(batcher.close)


async def _wait_behind(
    batcher: Batcher, gated: Gated, jobs: Sequence[tuple[Resident, list[str]]], seconds: float = 10
) -> list[Any]:
    """Have the jobs gather behind a first one that is being computed, then let them go; return what each came to."""
    first = asyncio.create_task(batcher.answers(jobs[0][0], jobs[0][1], 10))
    assert await asyncio.to_thread(gated.begun.wait, 10)
    others = [asyncio.create_task(batcher.answers(resident, texts, seconds)) for resident, texts in jobs[1:]]
    await asyncio.sleep(0.05)
    gated.open.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


def _labels(outcomes: Sequence[Any]) -> list[Any]:
    return [[a.label for a in one] if isinstance(one, list) else type(one) for one in outcomes]


def test_what_waits_is_computed_together() -> None:
    """Requests that came while the thread was busy are one batch up to its size, and each gets its own answers."""

    async def run() -> list[Any]:
        async with _batcher() as (batcher, _):
            resident = _resident("a", gated)
            jobs = [(resident, [f"{n}", f"{n}+"]) for n in range(4)]
            return await _wait_behind(batcher, gated, jobs)

    gated = Gated()

    assert _labels(asyncio.run(run())) == [["0", "0+"], ["1", "1+"], ["2", "2+"], ["3", "3+"]]
    assert gated.batches == [["0", "0+"], ["1", "1+", "2", "2+"], ["3", "3+"]]


def test_texts_that_take_long_are_computed_in_smaller_batches() -> None:
    """No batch is expected to take more than a tenth of a request's time, for whoever comes waits for its end."""

    async def run() -> list[Any]:
        # The first text takes 0.05 s at least, until it is let go.
        async with _batcher(replace(LIMITS, request_seconds=1.0)) as (batcher, _):
            resident = _resident("a", gated)
            return await _wait_behind(batcher, gated, [(resident, [f"{n}"]) for n in range(5)])

    gated = Gated()

    assert _labels(asyncio.run(run())) == [[f"{n}"] for n in range(5)]
    assert max(map(len, gated.batches)) <= 2


def test_a_batch_is_of_one_version() -> None:
    """Two versions that take turns in the queue are computed apart, and still in batches."""

    async def run() -> list[Any]:
        async with _batcher() as (batcher, _):
            one, other = _resident("a", gated), _resident("b", gated)
            return await _wait_behind(batcher, gated, [(one, ["0"]), (one, ["1"]), (other, ["2"]), (one, ["3"])])

    gated = Gated()

    assert _labels(asyncio.run(run())) == [["0"], ["1"], ["2"], ["3"]]
    assert gated.batches == [["0"], ["1", "3"], ["2"]]


def test_one_bad_text_fails_its_own_request_only() -> None:
    """Where a batch breaks, its requests are computed one by one."""

    async def run() -> list[Any]:
        async with _batcher() as (batcher, _):
            resident = _resident("a", gated)
            jobs = [(resident, [text]) for text in ("0", "1", "bad", "3")]
            return await _wait_behind(batcher, gated, jobs)

    gated = Gated()

    assert _labels(asyncio.run(run())) == [["0"], ["1"], FloatingPointError, ["3"]]


def test_no_more_wait_than_may() -> None:
    """The text too many is refused at once and told when to come again; those that wait are answered."""

    async def run() -> list[Any]:
        async with _batcher() as (batcher, _):
            resident = _resident("a", gated)
            return await _wait_behind(batcher, gated, [(resident, ["0"]), (resident, ["1"] * 8), (resident, ["2"])])

    gated = Gated()
    first, second, third = asyncio.run(run())

    assert (len(first), len(second)) == (1, 8)
    assert isinstance(third, QueueFull)
    assert third.retry_seconds == 1


def test_what_is_too_late_is_not_computed() -> None:
    """A request whose time runs out in the queue is told so, and costs the model nothing."""

    async def run() -> list[Any]:
        async with _batcher() as (batcher, _):
            jobs = [(_resident("a", gated), [text]) for text in ("0", "1")]
            return await _wait_behind(batcher, gated, jobs, seconds=0.01)

    gated = Gated()

    assert _labels(asyncio.run(run())) == [["0"], TooLate]
    assert gated.batches == [["0"]]


def test_what_would_come_too_late_is_not_computed_with_others() -> None:
    """Where texts have become slow, a batch leaves out whom it would answer when their time has run out."""

    async def run() -> None:
        async with _batcher() as (batcher, _):
            resident = _resident("a", gated)
            first = asyncio.create_task(batcher.answers(resident, ["0"], 600))
            assert await asyncio.to_thread(gated.begun.wait, 10)
            patient = asyncio.create_task(batcher.answers(resident, ["1"], 600))
            hasty = asyncio.create_task(batcher.answers(resident, ["2"], 60))
            await asyncio.sleep(0.05)
            batcher._seconds_per_text = 50.0  # so that two take longer than the third would wait
            gated.open.set()
            await asyncio.gather(first, patient)
            hasty.cancel()

    gated = Gated()
    asyncio.run(run())

    assert gated.batches == [["0"], ["1"]]


def test_who_would_wait_too_long_is_told_at_once() -> None:
    """Once a text's time is known, a request that would wait beyond its own limit is refused before it waits."""

    async def run() -> None:
        async with _batcher() as (batcher, _):
            resident = _resident("a", gated)
            threading.Timer(0.2, gated.open.set).start()
            await batcher.answers(resident, ["0"], 10)
            gated.open.clear()
            gated.begun.clear()
            waiting = [asyncio.create_task(batcher.answers(resident, ["1"], 10))]
            assert await asyncio.to_thread(gated.begun.wait, 10)
            waiting += [asyncio.create_task(batcher.answers(resident, ["1"], 10)) for _ in range(3)]
            await asyncio.sleep(0)
            try:
                with pytest.raises(QueueFull, match="would take"):
                    await batcher.answers(resident, ["2"], 0.1)
            finally:
                gated.open.set()
                await asyncio.gather(*waiting)

    gated = Gated()
    asyncio.run(run())


def test_batches_are_counted_by_version() -> None:
    """Batch sizes and the time in the queue and in the model are histograms of the version."""

    async def run() -> str:
        async with _batcher() as (batcher, metrics):
            resident = _resident("a", gated)
            jobs = [(resident, [text]) for text in "0123"]
            await _wait_behind(batcher, gated, jobs)
            return metrics.text().decode()

    gated = Gated()
    text = asyncio.run(run())

    assert 'nightshift_batch_texts_sum{model="m",version="a"} 4.0' in text
    assert 'nightshift_batch_texts_count{model="m",version="a"} 2.0' in text
    assert 'nightshift_queue_seconds_count{model="m",version="a"} 4.0' in text
    assert 'nightshift_model_seconds_count{model="m",version="a"} 2.0' in text
    assert 'nightshift_queue_texts{model="m"} 0.0' in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"parallel": 0}, "parallel"),
        ({"queue_texts": 3}, "queue_texts"),
        ({"request_seconds": 0}, "request_seconds"),
        ({"drain_seconds": -1}, "drain_seconds"),
    ],
)
def test_limits_refuse_what_cannot_be(wrong: dict[str, Any], message: str) -> None:
    """A value out of range is refused by name."""
    with pytest.raises(ValueError, match=message):
        Limits(**wrong)
