"""Both sides of a talk with a child at once: it is handed a file piece by piece while its rows come back."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

_SENT_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file on its way: how many bytes it has, and they themselves in pieces, which can be taken once.

    Whether they are what was listed may be known only at their end, where the pieces raise if they are not.
    """

    size: int
    pieces: Iterator[bytes]

    @classmethod
    def of(cls, data: bytes) -> Incoming:
        """Return a file that is there as a whole."""
        return cls(len(data), iter([data]))

    def finish(self) -> None:
        """Take what nobody took, so that the end is reached."""
        for _ in self.pieces:
            pass


class Exchange:
    """What goes to a child and what comes from it, over one connection, in bounded memory.

    The clock runs only while the child is waited for: neither a slow landing zone nor a slow reader is its fault.

    Args:
        connection: To the child.
        pieces: What it is to be sent.
        seconds: How long it may be waited for, all in all.
    """

    def __init__(self, connection: socket.socket, pieces: Iterable[bytes], seconds: float) -> None:
        connection.setblocking(False)
        self._connection, self._pieces, self._left = connection, iter(pieces), seconds
        self._out = memoryview(b"")
        self._has_more = True
        self._poller = select.poll()
        self._poller.register(connection)

    @property
    def is_late(self) -> bool:
        """Whether the time is up."""
        return self._left <= 0

    def read(self, count: int) -> pa.Buffer:
        """Return that many bytes of what comes, and send meanwhile.

        Raises:
            EOFError: The child went before.
            TimeoutError: The time is up.
        """
        # Not zeroed first, as a bytearray is.
        buffer = pa.allocate_buffer(count)
        view = memoryview(buffer)
        while view:
            try:
                received = self._connection.recv_into(view)
            except BlockingIOError:
                self._wait()
                continue
            if not received:
                raise EOFError
            view = view[received:]
        return buffer

    def _wait(self) -> None:
        """Return when something has come, or could be sent."""
        while self._has_more and not self._out:
            piece = next(self._pieces, None)
            self._has_more = piece is not None
            self._out = memoryview(piece or b"")
        self._poller.modify(self._connection, select.POLLIN | (select.POLLOUT if self._out else 0))
        before = time.monotonic()
        ready = self._poller.poll(max(0.0, self._left) * 1000)
        self._left -= time.monotonic() - before
        if not ready:
            self._left = 0.0
            raise TimeoutError
        if ready[0][1] & select.POLLOUT:
            self._send()

    def _send(self) -> None:
        try:
            with contextlib.suppress(BlockingIOError):
                self._out = self._out[self._connection.send(self._out[:_SENT_AT_ONCE]) :]
        except OSError:
            # It has read enough, and says why.
            self._out, self._has_more = memoryview(b""), False
