"""The process that parses a file: what it has, what it may, and what becomes of one that breaks."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.errors import HostileInput, SourceChanged, SourceUnavailable
from operators.core.sources import parser
from operators.core.sources.child import parse
from operators.core.sources.columns import schema_of
from operators.core.sources.exchange import Incoming
from operators.core.sources.job import ParseJob
from operators.core.sources.reader import parse_apart, read_rows
from operators.core.sources.spec import Format, ReadLimits
from operators.core.sources.wire import NotAFrame, receive, send_batch, send_end
from tests.core.sources.files import ROWS, SPEC, csv_file, json_lines, parquet_file
from tests.core.sources.hostile import growth

PATH = "notes/dt=2002-09-26/a.jsonl"
SECRET = "a-secret-of-the-task"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def worker() -> Iterator[parser.Parser]:
    """A parser that was started for this test, and is the one that the reader takes."""
    parser.close_all()
    worker = parser.Parser()
    parser._idle.append(worker)
    yield worker
    parser.close_all()


def _child(worker: parser.Parser) -> psutil.Process:
    return psutil.Process(worker.process.pid).children()[0]


def _is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_the_forker_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment is not the task's, its command line names no file, and it inherits no descriptor but its own."""
    monkeypatch.setenv("AIRFLOW_CONN_NIGHTSHIFT_STORE", SECRET)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    secret, _ = os.pipe()
    os.set_inheritable(secret, True)
    worker = parser.Parser()
    try:
        proc = Path(f"/proc/{worker.process.pid}")
        names = {part.split(b"=")[0].decode() for part in (proc / "environ").read_bytes().split(b"\0") if part}
        descriptors = {os.readlink(path).split(":")[0] for path in (proc / "fd").iterdir() if path.name not in "012"}

        assert names <= {"PYTHONPATH", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "OMP_NUM_THREADS"} | {
            "ARROW_DEFAULT_MEMORY_POOL",
            "JE_ARROW_MALLOC_CONF",
        }
        assert SECRET.encode() not in (proc / "environ").read_bytes() + (proc / "cmdline").read_bytes()
        assert descriptors == {"socket"}
        assert len(list((proc / "fd").iterdir())) == 4
        assert len(list((proc / "task").iterdir())) == 1, "a fork would lose the other thread"
    finally:
        worker.close()
        os.close(secret)


CONFINED = """
import os, resource, socket, sys
from operators.core.sources.child import confine
from operators.core.sources.spec import ReadLimits
confine(ReadLimits(max_memory_bytes=300 * 1024**2, max_cpu_seconds=1))
done = []
for name, act in {
    "open": lambda: open("/etc/passwd"), "socket": lambda: socket.socket(), "pipe": os.pipe,
    "write": lambda: (os.write(1, b"x"), os.fsync(1)), "memory": lambda: bytearray(400 * 1024**2),
}.items():
    try:
        act()
        done.append(name)
    except (OSError, MemoryError):
        pass
sys.stderr.write(" ".join(done))
sys.stderr.flush()
while True:
    pass
"""


def test_a_child_can_neither_open_nor_write_nor_grow_nor_stay(tmp_path: Path) -> None:
    """What its limits forbid does not happen, also where code of its own tries; then its time is up."""
    with (tmp_path / "written").open("wb") as target:
        done = subprocess.run(
            [sys.executable, "-c", CONFINED],
            env={"PYTHONPATH": str(ROOT)},
            stdout=target,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )

    assert done.stderr == b""
    # A write beyond the size that is allowed is a signal of its own, which Python ignores.
    assert (tmp_path / "written").read_bytes() == b""
    assert done.returncode == -signal.SIGXCPU


def test_memory_beyond_the_limit_is_refused() -> None:
    """A parser that would eat the machine's memory gets none, and says so; the next file is read."""
    rows = json_lines([{**ROWS[0], "text": "x" * 50_000_000}])
    spec = replace(SPEC, limits=ReadLimits(max_line_bytes=10**9, max_memory_bytes=64 * 1024**2))
    with pytest.raises(HostileInput, match=r"a\.jsonl: (needs more than|its parser crashed)"):
        read_rows(rows, PATH, spec)

    assert len(read_rows(json_lines(ROWS), PATH, SPEC).rows) == len(ROWS)


def test_processor_time_beyond_the_limit_is_refused(worker: parser.Parser) -> None:
    """A file that takes long is ended by the kernel; the forker and the next file do not notice."""
    data = csv_file([{"id": "1", "label": "a", "text": "x" * 100}] * 3) + b'1,"",\n' * 3_000_000
    spec = replace(SPEC, format=Format.CSV, limits=ReadLimits(max_rows=10**9, max_cpu_seconds=1))
    with pytest.raises(HostileInput, match="not parsed in 1 s of processor time"):
        read_rows(data, "notes/dt=x/a.csv", spec)

    assert len(read_rows(json_lines(ROWS), PATH, SPEC).rows) == len(ROWS)
    assert parser._idle == [worker]


def test_a_parser_that_hangs_is_killed(worker: parser.Parser) -> None:
    """One that takes no processor time either is ended by the clock: here one that was stopped."""
    data = json_lines([{**ROWS[0], "text": "x" * 1_000_000}] * 20)
    rows = parse_apart(data, PATH, replace(SPEC, limits=ReadLimits(max_seconds=1)))
    next(rows)
    child = _child(worker)
    child.suspend()
    with pytest.raises(HostileInput, match=r"a\.jsonl: not parsed in 1 s"):
        list(rows)

    assert not _is_alive(child.pid)
    assert len(read_rows(json_lines(ROWS), PATH, SPEC).rows) == len(ROWS)
    assert parser._idle == [worker]


def test_a_parser_is_not_blamed_for_others_who_are_slow(worker: parser.Parser) -> None:
    """Its clock stands while its rows are worked on, and while the file is waited for."""
    data = json_lines([{**ROWS[0], "text": "x" * 1_000_000}] * 4)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(data), 1_000_000):
            time.sleep(0.3)
            yield data[start : start + 1_000_000]

    file = Incoming(len(data), pieces())
    found = 0
    for part in parse_apart(file, PATH, replace(SPEC, limits=ReadLimits(max_seconds=1))):
        time.sleep(0.3)
        found += part.num_rows if isinstance(part, pa.RecordBatch) else 0

    assert found == 4


def test_a_large_file_goes_through_little_memory(worker: parser.Parser) -> None:
    """300 MB that come in pieces and go in batches are never here at once, nor in the process that parses them."""
    line = json_lines([{**ROWS[0], "text": "x" * 100_000}])
    count, at_once = 3000, 100
    file = Incoming(count * len(line), (line * at_once for _ in range(count // at_once)))
    spec = replace(SPEC, limits=ReadLimits(max_file_bytes=2**30, max_ratio=1, max_memory_bytes=150 * 1024**2))
    grown = growth()
    found = sum(part.num_rows for part in parse_apart(file, PATH, spec) if isinstance(part, pa.RecordBatch))

    assert found == count
    assert grown() < 100_000_000


def test_a_file_that_turns_out_another_is_told_as_that(worker: parser.Parser) -> None:
    """What a parser says of content that was not listed is beside the point: that it changed is not."""

    def pieces() -> Iterator[bytes]:
        yield b"no JSON at all\n"
        yield from (b" " * 1_000_000 for _ in range(20))
        raise SourceChanged("a.jsonl: its content is not what was listed")

    with pytest.raises(SourceChanged):
        list(parse_apart(Incoming(30_000_000, pieces()), PATH, SPEC))

    assert len(read_rows(json_lines(ROWS), PATH, SPEC).rows) == len(ROWS)


def test_a_child_that_is_killed_may_be_tried_again(worker: parser.Parser) -> None:
    """The kernel, for want of memory, or an administrator: it says nothing about the file."""
    rows = parse_apart(json_lines([{**ROWS[0], "text": "x" * 1_000_000}] * 20), PATH, SPEC)
    next(rows)
    _child(worker).kill()
    with pytest.raises(SourceUnavailable, match=r"a\.jsonl: the process that parsed it was ended") as caught:
        list(rows)

    assert caught.value.retry_can_help
    assert len(read_rows(json_lines(ROWS), PATH, SPEC).rows) == len(ROWS)


def test_a_forker_that_is_killed_takes_its_child_and_is_replaced(worker: parser.Parser) -> None:
    """Nothing is left that nobody watches, and the next file has a new forker."""
    rows = parse_apart(json_lines([{**ROWS[0], "text": "x" * 1_000_000}] * 20), PATH, SPEC)
    next(rows)
    child = _child(worker)
    worker.process.kill()
    with pytest.raises(SourceUnavailable):
        list(rows)
    psutil.wait_procs([child], timeout=10)

    assert not _is_alive(child.pid)
    assert len(read_rows(json_lines(ROWS), PATH, SPEC).rows) == len(ROWS)
    assert parser._idle != [worker]


def test_a_file_that_is_given_up_leaves_nothing(worker: parser.Parser) -> None:
    """Whoever stops reading in the middle ends the child; what it had to say reaches nobody else."""
    rows = parse_apart(json_lines([{**ROWS[0], "text": "x" * 1_000_000}] * 20), PATH, SPEC)
    next(rows)
    child = _child(worker)
    rows.close()
    psutil.wait_procs([child], timeout=10)

    assert not _is_alive(child.pid)
    assert len(read_rows(json_lines(ROWS), PATH, SPEC).rows) == len(ROWS)


ABANDONED = """
import sys, time, psutil
from operators.core.sources.reader import parse_apart
from tests.core.sources.hostile import growth
from tests.core.sources.files import ROWS, SPEC, json_lines
rows = parse_apart(json_lines([{**ROWS[0], "text": "x" * 1_000_000}] * 20), "notes/dt=x/a.jsonl", SPEC)
next(rows)
print(*[process.pid for process in psutil.Process().children(recursive=True)], flush=True)
time.sleep(60)
"""


def test_a_task_that_is_killed_takes_its_processes(tmp_path: Path) -> None:
    """However a task ends, its forker and the child at work end too."""
    task = subprocess.Popen([sys.executable, "-c", ABANDONED], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert task.stdout is not None
    with task.stdout:
        pids = [int(word) for word in task.stdout.readline().split()]
    task.kill()
    task.wait()
    deadline = time.monotonic() + 10
    while any(map(_is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert len(pids) == 2
    assert not [pid for pid in pids if _is_alive(pid)]


DAEMON = """
import multiprocessing, os, sys
from operators.core.sources import parser
from operators.core.sources.reader import read_rows
from tests.core.sources.hostile import growth
from tests.core.sources.files import ROWS, SPEC, json_lines

def read():
    assert len(read_rows(json_lines(ROWS), "notes/dt=x/a.jsonl", SPEC).rows) == len(ROWS)

def task():
    assert multiprocessing.current_process().daemon and parser._idle == []
    read()
    child = os.fork()
    if child == 0:
        assert parser._idle == []
        read()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    read()
    os._exit(8)

read()
process = multiprocessing.get_context("fork").Process(target=task, daemon=True)
process.start()
process.join()
read()
sys.exit(process.exitcode)
"""


def test_it_works_in_forks_and_daemons() -> None:
    """Airflow forks its workers from the scheduler and tasks from workers: each process has a forker of its own."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", DAEMON], cwd=ROOT, timeout=120, check=False)

    assert done.returncode == 8


def test_two_threads_have_two_children() -> None:
    """Neither waits for the other, nor reads what is the other's."""
    found: dict[int, int] = {}

    def read(count: int) -> None:
        for _ in range(3):
            found[count] = len(read_rows(json_lines(ROWS * count), PATH, SPEC).rows)

    threads = [threading.Thread(target=read, args=(count,)) for count in (1, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {1: len(ROWS), 50: 50 * len(ROWS)}


def _frames() -> bytes:
    target = io.BytesIO()
    data = parquet_file(ROWS)
    for part in parse(io.BytesIO(data), len(data), ParseJob.of("a.parquet", replace(SPEC, format=Format.PARQUET))):
        if isinstance(part, pa.RecordBatch):
            send_batch(target, part)
    send_end(target, {"missing": []})
    return target.getvalue()


def _receive(data: bytes) -> list[pa.RecordBatch | dict[str, Any]]:
    source = io.BytesIO(data)

    def read(count: int) -> pa.Buffer:
        piece = source.read(count)
        if len(piece) < count:
            raise EOFError
        return pa.py_buffer(piece)

    parts: list[pa.RecordBatch | dict[str, Any]] = []
    while not parts or not isinstance(parts[-1], dict):
        parts.append(receive(read, schema_of(SPEC.columns), 10_000))
    return parts


def test_what_is_sent_is_what_is_received() -> None:
    """Frames carry a batch whole, its slices too."""
    batch, end = _receive(_frames())
    target = io.BytesIO()
    send_batch(target, batch.slice(1, 2))
    send_end(target, {})

    assert end == {"missing": []}
    assert _receive(target.getvalue())[0].to_pylist() == batch.to_pylist()[1:]


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, len(_frames()) - 1), value=st.integers(0, 255))
def test_a_taken_over_child_can_send_nothing_harmful(place: int, value: int) -> None:
    """Whatever byte of its frames it changes: refused, or a batch of the right columns that is sound throughout."""
    data = bytearray(_frames())
    data[place] = value
    try:
        parts = _receive(bytes(data))
    except (NotAFrame, EOFError):
        return
    for part in parts:
        if isinstance(part, pa.RecordBatch):
            assert part.schema == schema_of(SPEC.columns)
            part.validate(full=True)


@pytest.mark.parametrize(
    "head",
    [
        *(b"", b"[]", b"7", b"null", b'{"rows": 1}', b'{"rows": 1, "sizes": [1]}', b'{"end": 7}', b"[" * 100_000),
        json.dumps({"rows": 2**40, "sizes": [None] * 19}).encode(),
        json.dumps({"rows": 1, "sizes": [2**31 - 1] * 19}).encode(),
        json.dumps({"rows": 1, "sizes": [-1] * 19}).encode(),
        json.dumps({"rows": 5, "sizes": [None] * 19}).encode(),
    ],
)
def test_a_head_that_is_none_is_refused(head: bytes) -> None:
    """Nothing is reserved for what a head claims, nothing is made of what it leaves out."""
    with pytest.raises(NotAFrame):
        _receive(len(head).to_bytes(4, "big") + head)
    with pytest.raises(NotAFrame):
        _receive(b"\xff\xff\xff\xff")
