"""What runs in the process that reads one untrusted file: limits first, then the job, then nothing more."""

from __future__ import annotations

import ctypes
import io
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from operators.core.errors import DataError, HostileInput
from operators.core.sources.codec import PlainFile, plain_bytes
from operators.core.sources.conll import parse_conll
from operators.core.sources.delimited import parse_csv
from operators.core.sources.job import ParseJob
from operators.core.sources.json_lines import parse_json_lines
from operators.core.sources.messages import parse_eml, parse_mbox
from operators.core.sources.parquet import parse_parquet
from operators.core.sources.spec import Format, ReadLimits
from operators.core.sources.wire import send_batch, send_end

Rows = Iterator[pa.RecordBatch | set[str]]
_STREAMS: dict[Format, Callable[[BinaryIO, ParseJob], Rows]] = {
    Format.JSON_LINES: parse_json_lines,
    Format.CSV: parse_csv,
    Format.MBOX: parse_mbox,
    Format.EML: parse_eml,
    Format.CONLL: parse_conll,
}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_libc = ctypes.CDLL(None, use_errno=True)


def parse(file: BinaryIO, size: int, job: ParseJob) -> Rows:
    """Yield batches of the rows of a file of that many bytes, then the columns that it does not have.

    Raises:
        DataError: The file is not what the job says.
        HostileInput: It goes beyond the limits.
    """
    if job.format is Format.PARQUET:
        parts = parse_parquet(plain_bytes(file, size, job.compression, job.limits), job)
    else:
        plain = io.BufferedReader(PlainFile(file, size, job.compression, job.limits), 256 * 1024)
        parts = _STREAMS[job.format](plain, job)
    rows = 0
    for part in parts:
        rows += part.num_rows if isinstance(part, pa.RecordBatch) else 0
        if rows > job.limits.max_rows:
            raise HostileInput(f"more than {job.limits.max_rows} rows; split the file")
        yield part


def serve(connection: socket.socket, limits: ReadLimits) -> None:
    """Do the one job that comes over a connection, within its limits."""
    confine(limits)
    with connection, connection.makefile("rb") as source:
        job = ParseJob.from_json(source.readline())
        size = int(source.readline())
        file = io.BufferedReader(_Arriving(source, size), 256 * 1024)
        with io.BufferedWriter(socket.SocketIO(connection, "w"), 256 * 1024) as target:
            send_end(target, _send_rows(target, file, size, job))


class _Arriving(io.RawIOBase):
    """A file of so many bytes that come over a connection; what is cut off there is no file."""

    def __init__(self, source: io.BufferedReader, size: int) -> None:
        self._source, self._left = source, size

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        count = self._source.readinto(memoryview(target)[: self._left])
        if not count and self._left:
            raise ConnectionError("whoever sent the file went")
        self._left -= count
        return count


def confine(limits: ReadLimits) -> None:
    """Take from this process, for good, what a parser does not need.

    It may open no file and no socket, write no file, start no process, outlive no parent, and use so much memory and
    processor time. It still has the rights of its user over other processes: this holds a parser that goes wrong,
    not an intruder who knows the kernel.
    """
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _limit(resource.RLIMIT_AS, taken + limits.max_memory_bytes)
    _limit(resource.RLIMIT_CPU, limits.max_cpu_seconds)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_NOFILE, 0)


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value + 1 if which == resource.RLIMIT_CPU and hard != value else value))


def _send_rows(target: BinaryIO, file: BinaryIO, size: int, job: ParseJob) -> dict[str, Any]:
    """Send all batches; return what the last frame says."""
    missing: set[str] = set()
    try:
        for part in parse(file, size, job):
            if isinstance(part, set):
                missing = part
            else:
                send_batch(target, part)
    except (DataError, HostileInput) as error:
        return {"error": type(error).__name__, "reason": str(error)}
    except MemoryError:
        return {"error": "HostileInput", "reason": f"needs more than {job.limits.max_memory_bytes} bytes of memory"}
    except Exception as error:
        # Not its message: it may quote what the file says.
        return {"error": "DataError", "reason": f"cannot be read ({type(error).__name__}); write it again"}
    return {"missing": [number for number, column in enumerate(job.columns) if column.name in missing]}
