"""Checkpoints are put by a process that gives way to the training, and is lost with nothing but what it was putting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from operators.core.errors import StorageError
from operators.core.settings import StorageSettings
from operators.core.storage import Store
from operators.core.storage.pins import read_pins
from operators.core.training.putting import NICENESS, Putter

# A rank, which is killed; it tells who puts its files.
RANK = """
import sys, time
from pathlib import Path
from operators.core.settings import StorageSettings
from operators.core.training.putting import Putter

putter = Putter(StorageSettings.from_json(sys.argv[1]), Path(sys.argv[2]))
print(putter._process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """A file to be put."""
    path = tmp_path / "state"
    path.write_bytes(os.urandom(100_000))
    return path


@pytest.fixture
def putter(store: Store, storage_settings: StorageSettings, tmp_path: Path) -> Iterator[Putter]:
    """A process that puts files into the store."""
    made = Putter(storage_settings, tmp_path)
    yield made
    made.close()


def test_a_file_is_put_by_a_process_that_gives_way(putter: Putter, store: Store, part: Path) -> None:
    """Its bytes are in the store under its name, and the process asks for a tenth of a busy core."""
    entry = putter.put("part", part)
    niceness = os.getpriority(os.PRIO_PROCESS, putter._process.pid)

    assert (entry.name, store.read(entry)) == ("part", part.read_bytes())
    assert niceness == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)


def test_each_file_has_a_lease_of_its_own_and_none_is_left(putter: Putter, store: Store, part: Path) -> None:
    """Or the collector would wait for what a training began with."""
    entries = [putter.put("part", part) for _ in range(2)]
    held = read_pins(store.membership, store.record)
    putter.close()

    assert entries[0] == entries[1]
    assert len(held) == 1
    assert read_pins(store.membership, store.record) == []


def test_what_cannot_be_put_is_told(putter: Putter, store: Store, part: Path) -> None:
    """A file that is gone costs itself alone."""
    with pytest.raises(StorageError, match="No such file"):
        putter.put("gone", part.with_name("gone"))

    assert store.read(putter.put("part", part)) == part.read_bytes()


def test_a_process_that_is_killed_costs_what_it_was_putting(putter: Putter, store: Store, part: Path) -> None:
    """The next file is put by another one."""
    victim = putter._process
    victim.send_signal(signal.SIGSTOP)
    threading.Timer(0.2, victim.kill).start()
    with pytest.raises(StorageError, match="part ended with -9"):
        putter.put("part", part)

    assert store.read(putter.put("part", part)) == part.read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends when it next reads")
def test_it_dies_with_its_rank(storage_settings: StorageSettings, tmp_path: Path) -> None:
    """A rank that is killed leaves nobody who writes for it."""
    arguments = [sys.executable, "-c", RANK, storage_settings.to_json(), str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as rank:
        assert rank.stdout
        child = psutil.Process(int(rank.stdout.readline()))
        # Only then has it asked to die with the rank.
        while child.nice() == os.getpriority(os.PRIO_PROCESS, 0):
            assert rank.poll() is None
        rank.kill()
        _, alive = psutil.wait_procs([child], timeout=30)

    assert not alive
