"""The client of the processes that parse: starts the forker, hands over a file, accepts what may be accepted."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

import operators
from operators.core.errors import DataError, HostileInput, SourceUnavailable
from operators.core.manifest import spec_json
from operators.core.sources import forker
from operators.core.sources.columns import schema_of
from operators.core.sources.exchange import Exchange, Incoming
from operators.core.sources.job import ParseJob
from operators.core.sources.spec import ReadLimits
from operators.core.sources.wire import SENT_BYTES, NotAFrame, receive

START_SECONDS = 120.0
"""What a forker may take to load the parsers: a second on an idle core."""
AHEAD_BYTES = 4 * 1024**2
"""Of rows that a child may have sent and nobody taken, where the system allows so many: it goes on meanwhile."""
GRACE_SECONDS = 30.0
"""So long after a file's end, or after it was told to kill a child, the forker itself is taken for hung."""
_GONE = (EOFError, OSError)


class Parser:
    """One forker and its end of the connection. It parses one file at a time."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", forker.COMMAND, str(theirs.fileno())],
                env=_environment(),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self.is_idle = self._answer(START_SECONDS) == forker.READY
        if not self.is_idle:
            self.close()
            raise SourceUnavailable("the process that parses files did not start; its own words are in the log")

    def parse(self, file: Incoming, path: str, job: ParseJob) -> Iterator[pa.RecordBatch | tuple[str, ...]]:
        """Yield what `reader.parse_apart` says, from a new child."""
        self.is_idle = False
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, AHEAD_BYTES)
        pieces = itertools.chain([job.to_json(), b"\n%d\n" % file.size], file.pieces)
        exchange = Exchange(ours, pieces, job.limits.max_seconds)
        end = None
        with ours, contextlib.suppress(*_GONE):
            with theirs:
                limits = json.dumps(spec_json(job.limits)).encode()
                socket.send_fds(self._control, [limits], [theirs.fileno()])
            end = yield from _batches(exchange, path, job)
        if exchange.is_late:
            with contextlib.suppress(OSError):
                self._control.send(forker.LATE)
        answer = self._answer(GRACE_SECONDS)
        if not answer:
            raise SourceUnavailable(f"{path}: the processes that parse it were ended from outside")
        self.is_idle = True
        if exchange.is_late:
            raise HostileInput(f"{path}: not parsed in {job.limits.max_seconds} s; split the file, or raise the limits")
        if end is None:
            raise _failure(path, json.loads(answer)["status"], job.limits)
        yield _missing(path, end, job)

    def close(self) -> None:
        """End the forker, and with it a child that is at work."""
        self.is_idle = False
        self._control.close()
        self.process.kill()
        self.process.wait()

    def forget(self) -> None:
        """Leave the forker to the process that started it: this one is its fork."""
        self._control.close()
        self.process.returncode = 0

    def _answer(self, seconds: float) -> bytes:
        """Return the forker's next message, nothing where it is gone or hangs."""
        self._control.settimeout(seconds)
        try:
            return self._control.recv(65536)
        except OSError:
            return b""


_idle: list[Parser] = []


@contextlib.contextmanager
def borrowed() -> Iterator[Parser]:
    """Have a parser that nobody else uses; it is kept for the next file if it can take one, else ended."""
    parser = _idle.pop() if _idle else Parser()
    try:
        yield parser
    finally:
        if parser.is_idle:
            _idle.append(parser)
        else:
            parser.close()


def close_all() -> None:
    """End all forkers that wait for a file."""
    while _idle:
        _idle.pop().close()


def _forget_all() -> None:
    while _idle:
        _idle.pop().forget()


atexit.register(close_all)
os.register_at_fork(after_in_child=_forget_all)


def _environment() -> dict[str, str]:
    """Return all that a forker may know: where the code is, and how to need little memory."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return kept | {
        "PYTHONPATH": str(Path(operators.__file__).resolve().parents[1]),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        # Each would reserve address space by the gigabyte, which is what a child is limited by.
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        "MALLOC_ARENA_MAX": "1",
        "OMP_NUM_THREADS": "1",
    }


def _batches(exchange: Exchange, path: str, job: ParseJob) -> Generator[pa.RecordBatch, None, dict[str, Any]]:
    """Yield batches up to the last frame, and return that."""
    schema = schema_of(job.columns)
    most = SENT_BYTES + 3 * job.limits.max_line_bytes * len(schema)
    rows = size = 0
    while True:
        try:
            part = receive(exchange.read, schema, most)
        except NotAFrame:
            raise HostileInput(
                f"{path}: its parser was taken over, or broke; look at the file before anybody"
            ) from None
        if isinstance(part, dict):
            return part
        rows += part.num_rows
        size += part.nbytes
        # Text in UTF-8 takes at most three bytes for one; numbers and marks may take more than they do in the file.
        if rows > job.limits.max_rows or size > 3 * job.limits.max_decoded_bytes + rows * 17 * len(schema):
            raise HostileInput(f"{path}: its parser sent more than the limits allow")
        yield part


def _missing(path: str, end: dict[str, Any], job: ParseJob) -> tuple[str, ...]:
    if isinstance(end.get("missing"), list):
        return tuple(column.name for number, column in enumerate(job.columns) if number in end["missing"])
    reason = end.get("reason")
    if not isinstance(reason, str) or not reason.isprintable() or len(reason) > 500:
        reason = "cannot be read"
    raise (HostileInput if end.get("error") == "HostileInput" else DataError)(f"{path}: {reason}")


def _failure(path: str, status: int, limits: ReadLimits) -> Exception:
    if status == -signal.SIGXCPU:
        return HostileInput(
            f"{path}: not parsed in {limits.max_cpu_seconds} s of processor time; split the file, or raise the limits"
        )
    if status in (-signal.SIGKILL, -signal.SIGTERM):
        return SourceUnavailable(
            f"{path}: the process that parsed it was ended from outside, perhaps for want of memory"
        )
    name = signal.Signals(-status).name if status < 0 else f"status {status}"
    return HostileInput(
        f"{path}: its parser crashed ({name}) within {limits.max_memory_bytes} bytes of memory; look at the file"
    )
