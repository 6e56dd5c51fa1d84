"""Pieces are got ahead of who takes them, within bounds, and nobody waits for a thread that nobody needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from operators.core.errors import DataError
from operators.core.sources import ahead
from operators.core.sources.ahead import Ahead

SECONDS = 60


@dataclass
class _Piece:
    number: int
    nbytes: int = 10


@pytest.fixture
def reader() -> Iterator[ThreadPoolExecutor]:
    """One thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_more_than_the_bound_waits(reader: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece is asked for once there is room; all come, in order."""
    monkeypatch.setattr(ahead, "AHEAD_BYTES", 25)
    asked: list[int] = []

    def read() -> Generator[_Piece, None, None]:
        for number in range(20):
            asked.append(number)
            yield _Piece(number)

    pieces = Ahead(read, reader)
    # Three wait, and one is in the thread's hand.
    _until(lambda: len(asked) == 4)
    time.sleep(0.05)
    seen = len(asked)

    assert seen == 4
    assert [piece.number for piece in pieces] == list(range(20))


def test_one_piece_may_be_larger_than_the_bound(reader: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes by itself: a row of any size is read."""
    monkeypatch.setattr(ahead, "AHEAD_BYTES", 1)

    def read() -> Generator[_Piece, None, None]:
        yield from map(_Piece, range(3))

    assert [piece.number for piece in Ahead(read, reader)] == [0, 1, 2]


def test_what_went_wrong_comes_after_what_went_well(reader: ThreadPoolExecutor) -> None:
    """And again, whenever somebody asks again."""

    def read() -> Generator[_Piece, None, None]:
        yield _Piece(0)
        raise DataError("cut off")

    pieces = Ahead(read, reader)

    assert next(pieces).number == 0
    for _ in range(2):
        with pytest.raises(DataError, match="cut off"):
            next(pieces)


def test_who_is_given_up_stops(reader: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was reading is closed, and the thread is free for another."""
    monkeypatch.setattr(ahead, "AHEAD_BYTES", 1)
    is_closed = threading.Event()

    def read() -> Generator[_Piece, None, None]:
        try:
            for number in range(1000):
                yield _Piece(number)
        finally:
            is_closed.set()

    Ahead(read, reader).give_up()

    assert is_closed.wait(SECONDS)
    assert reader.submit(lambda: 7).result(SECONDS) == 7
