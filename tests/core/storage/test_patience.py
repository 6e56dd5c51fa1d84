"""How long servers are waited for: limits, pauses, and the one request that ends a pause."""

from __future__ import annotations

import asyncio

import pytest

from operators.core.storage.endpoint import EndpointAway
from operators.core.storage.patience import Breaker, Patience

PATIENCE = Patience(failures=3, pause_seconds=2.0, longest_pause_seconds=8.0)


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


def admit(breaker: Breaker, *, alive: bool = True) -> bool:
    """Return whether a request goes out; a trial on the way meets a server that is alive, or not."""

    async def trial() -> None:
        if not alive:
            raise ConnectionRefusedError

    try:
        asyncio.run(breaker.admit(trial))
    except EndpointAway:
        return False
    return True


def test_failures_in_a_row_end_in_a_pause() -> None:
    """The third in a row closes the way, for as long as was said; an answer between them starts the count anew."""
    clock = Clock()
    breaker = Breaker(PATIENCE, clock)
    for _ in range(2):
        breaker.failed("reset", silent=False)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed("reset", silent=False)
    assert admit(breaker)

    breaker.failed("reset", silent=False)
    assert not admit(breaker)
    clock.now += 1.9
    assert not admit(breaker)
    clock.now += 0.2
    assert admit(breaker)


def test_one_silence_is_enough() -> None:
    """What cost its whole limit once is not asked a second time before a pause."""
    breaker = Breaker(PATIENCE, Clock())
    breaker.failed("no answer", silent=True)

    with pytest.raises(EndpointAway, match=r"left alone for 2\.0 s more after no answer"):
        asyncio.run(breaker.admit(never))


async def never() -> None:
    """Stand for a trial that must not be made."""
    raise AssertionError


def test_a_pause_doubles_up_to_its_limit_and_ends_with_an_answer() -> None:
    """A server that stays away is tried after 2, 4, 8, 8 seconds; one answer, and it starts from 2 again."""
    clock = Clock()
    breaker = Breaker(PATIENCE, clock)
    breaker.failed("no answer", silent=True)
    for pause in (2.0, 4.0, 8.0, 8.0):
        clock.now += pause - 0.1
        assert not admit(breaker)
        clock.now += 0.2
        assert not admit(breaker, alive=False)
    clock.now += 8.0
    assert admit(breaker)

    breaker.failed("no answer", silent=True)
    clock.now += 2.1
    assert admit(breaker)


def test_one_request_at_a_time_tries_a_server() -> None:
    """While the trial is under way the others are refused at once: a hung server holds one request, not all."""
    clock = Clock()
    breaker = Breaker(PATIENCE, clock)
    breaker.failed("no answer", silent=True)
    clock.now += 3.0

    async def both() -> tuple[bool, bool]:
        gate = asyncio.Event()
        first = asyncio.ensure_future(breaker.admit(gate.wait))
        await asyncio.sleep(0)
        try:
            await breaker.admit(never)
            others = True
        except EndpointAway:
            others = False
        gate.set()
        await first
        return others, True

    assert asyncio.run(both()) == (False, True)


@pytest.mark.parametrize("size", [0, 10 * 1024**3])
def test_a_body_has_time_at_the_slowest_pace(size: int) -> None:
    """The limit grows with the body and is never endless."""
    patience = Patience(connect_seconds=3, silence_seconds=15, slowest_bytes_per_second=1024**2)

    assert patience.limit_seconds(size) == 18 + size / 1024**2


def test_waits_are_drawn_between_nothing_and_a_growing_most() -> None:
    """Jitter: no two waits alike, the third up to sixteen times the first."""

    def draw(tried: int) -> list[float]:
        return [PATIENCE.wait_seconds(tried) for _ in range(200)]

    assert 0 <= min(draw(1)) < max(draw(1)) <= 0.1
    assert 0.4 < max(draw(3)) <= 1.6


def test_no_tries_at_all_are_refused() -> None:
    """A request must be made once."""
    with pytest.raises(ValueError, match="tries=0"):
        Patience(tries=0)
