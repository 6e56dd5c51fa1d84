"""Pieces that a thread gets before they are asked for: a bounded number of bytes of them."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor
from typing import Generic, TypeVar

AHEAD_BYTES = 32 * 1024**2
"""Of pieces that wait to be taken; one alone may be larger."""
Piece = TypeVar("Piece")


class Ahead(Generic[Piece]):
    """An iterator whose pieces are got by another thread; what went wrong there is raised after the last of them.

    Args:
        read: Gets the pieces; what has no `nbytes` weighs nothing.
        reader: Where it is called.
    """

    def __init__(self, read: Callable[[], Generator[Piece, None, None]], reader: Executor) -> None:
        self._waiting: deque[Piece] = deque()
        self._bytes = 0
        self._has_ended = self._is_given_up = False
        self._changed = threading.Condition()
        self._filled = reader.submit(self._fill, read)

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._has_ended)
            if self._waiting:
                piece = self._waiting.popleft()
                self._bytes -= _weight(piece)
                self._changed.notify_all()
                return piece
        self._filled.result()
        raise StopIteration

    def give_up(self) -> None:
        """Have the thread go on to something else."""
        with self._changed:
            self._is_given_up = True
            self._changed.notify_all()

    def _fill(self, read: Callable[[], Generator[Piece, None, None]]) -> None:
        try:
            with contextlib.closing(read()) as pieces:
                for piece in pieces:
                    if not self._takes(piece):
                        return
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def _takes(self, piece: Piece) -> bool:
        """Return whether a piece is wanted, once there is room for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_given_up or not self._waiting or self._bytes < AHEAD_BYTES)
            self._waiting.append(piece)
            self._bytes += _weight(piece)
            self._changed.notify_all()
            return not self._is_given_up


def _weight(piece: object) -> int:
    return int(getattr(piece, "nbytes", 0))
