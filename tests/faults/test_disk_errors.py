"""Directories on a failing disk, and a process out of file handles: system calls that fail, made by `strace`."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.catalogue import LEDGER, Kind

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

# Puts one key, then tells what it was told: `done`, or why not; and what two more puts by the same process come to.
PUT = """
import sys
from pathlib import Path
from operators.core.storage.directory import DirectoryEndpoint
from operators.core.storage.endpoint import EndpointAway

endpoint = DirectoryEndpoint("site_a", Path(sys.argv[1]))
for key in ("run/x/1", "run/x/2", "run/x/3"):
    try:
        endpoint.put(key, b"value")
        print("done")
    except EndpointAway as error:
        print(error)
"""
GET = """
import sys
from pathlib import Path
from operators.core.storage.directory import DirectoryEndpoint
from operators.core.storage.endpoint import EndpointAway

endpoint = DirectoryEndpoint("site_a", Path(sys.argv[1]))
for ask in (endpoint.get, endpoint.digest):
    try:
        print(ask("a/b"))
    except EndpointAway as error:
        print(error)
"""


@pytest.fixture
def strace() -> str:
    """The program that lets system calls fail; without it, say so and skip."""
    program = shutil.which("strace")
    if program is None:
        LEDGER.excused[Kind.IO_ERROR] = "strace is not installed"
        pytest.skip("strace is not installed")
    return program


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An empty directory endpoint."""
    (tmp_path / "site_a").mkdir()
    return tmp_path / "site_a"


def traced(strace: str, *arguments: str) -> tuple[list[str], list[str]]:
    """Run a program under strace; return its lines and strace's."""
    command = [strace, "-f", "-y", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_every_folder_on_a_new_keys_way_is_flushed(strace: str, site: Path) -> None:
    """After each folder is made its parent is flushed, after each file its own folder, before `done` is said."""
    _, calls = traced(strace, "-e", "trace=mkdir,rename,fsync,write", "-s", "200", sys.executable, "-c", PUT, str(site))
    waiting: set[str] = set()
    said = 0
    for call in calls:
        if made := re.search(r'mkdir\("([^"]+)", \d+\) += 0', call):
            waiting.add(str(Path(made[1]).parent))
        elif renamed := re.search(r'rename\("[^"]+", "([^"]+)"\) += 0', call):
            waiting.add(str(Path(renamed[1]).parent))
        elif flushed := re.search(r"fsync\(\d+<([^>]+)>\) += 0", call):
            waiting.discard(flushed[1])
        elif re.search(r'write\(1<.*"done', call):
            said += 1
            assert waiting == set()
    assert said >= 1
    assert any("fsync" in call and str(site / "run" / "x") in call for call in calls)


def test_a_flush_that_fails_is_never_called_done(strace: str, site: Path) -> None:
    """Each flush of a put fails in turn: the put is refused; after a folder's, so is all that this process asks for."""
    failed = 0
    while True:
        folder = site / f"n{failed}"
        folder.mkdir()
        inject = f"inject=fsync:error=EIO:when={failed + 1}"
        told, calls = traced(strace, "-e", "trace=fsync", "-e", inject, sys.executable, "-c", PUT, str(folder))
        injected = next((call for call in calls if "INJECTED" in call), None)
        if injected is None:
            break
        failed += 1
        number = next(index for index, line in enumerate(told) if line != "done")
        assert "Input/output error; look at the disk" in told[number]
        of_a_folder = "+incoming" not in injected
        later = told[number + 1 :]
        assert later == ([] if not later else [line for line in later if (line == "done") is not of_a_folder])
        assert list((folder / "+incoming").iterdir()) == []
    LEDGER.note(Kind.IO_ERROR, "EndpointAway", fired=failed)

    assert failed >= 6


@pytest.mark.parametrize("call", ["read", "openat"])
def test_a_read_that_fails_is_no_answer(strace: str, site: Path, call: str) -> None:
    """The disk cannot read a key's file: the endpoint is away, the key is not absent."""
    (site / "a").mkdir()
    (site / "a" / "b").write_bytes(b"value")
    inject = ("-e", f"inject={call}:error=EIO", "-P", str(site / "a" / "b"))
    told, calls = traced(strace, "-e", f"trace={call}", *inject, sys.executable, "-c", GET, str(site))
    LEDGER.note(Kind.IO_ERROR, "EndpointAway", fired=sum("INJECTED" in line for line in calls))

    assert len(told) == 2
    assert all("cannot read a/b: Input/output error; look at the disk" in line for line in told)


HANDLES = """
import os, sys
from pathlib import Path
from operators.core.storage.directory import DirectoryEndpoint
from operators.core.storage.endpoint import EndpointAway

endpoint = DirectoryEndpoint("site_a", Path(sys.argv[1]))
endpoint.put("a/b", b"value")
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for ask in (lambda: endpoint.get("a/b"), lambda: endpoint.put("a/c", b"x"), lambda: endpoint.list("")):
    try:
        print(ask())
    except EndpointAway as error:
        print(error)
print(endpoint.put_if_absent("a/d", b"x"))
for handle in taken:
    os.close(handle)
print(endpoint.get("a/b"), endpoint.put_if_absent("a/d", b"x"))
"""


def test_a_process_without_handles_refuses_and_goes_on_later(site: Path) -> None:
    """All file handles are taken: every verb says so, and works again once they are given back."""
    command = [sys.executable, "-c", HANDLES, str(site)]
    limited = subprocess.run(
        command, check=True, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )  # fmt: skip
    *refused, lost, later = limited.stdout.splitlines()
    LEDGER.note(Kind.NO_HANDLES, "EndpointAway", fired=4)

    assert len(refused) == 3
    assert all("Too many open files" in line for line in refused)
    assert (lost, later) == ("False", "b'value' True")
