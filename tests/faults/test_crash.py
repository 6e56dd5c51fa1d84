"""Each operation dies at each of its boundaries, and is tried again: nothing is lost, nothing is there twice."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.catalogue import LEDGER, Kind

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.fixture
def fast_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in memory where there is one: a thousand stores are made, and none must outlive a power cut.

    What those who die leave of temporary files lies there too, and goes with it.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="ns-", dir=memory if memory.is_dir() else None) as folder:
        temporary = Path(folder) / "tmp"
        temporary.mkdir()
        monkeypatch.setenv("TMPDIR", str(temporary))
        yield Path(folder)


@pytest.mark.parametrize(
    ("operation", "fewest"), [("put_file", 15), ("commit", 40), ("append", 15), ("resync", 30), ("move", 30)]
)
def test_a_crash_at_any_boundary_leaves_what_a_retry_completes(operation: str, fewest: int, fast_folder: Path) -> None:
    """Killed before and after every effect, killed again in the retry, then let alone: as if it had never died."""
    command = [sys.executable, "-m", "tests.faults.boundaries", operation, str(fast_folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    outcome = json.loads(done.stdout)
    LEDGER.note(Kind.KILLED, "survived", fired=outcome["crashes"])

    assert outcome["wrong"] == [], done.stderr
    assert outcome["boundaries"] >= fewest
    assert outcome["crashes"] > outcome["boundaries"]


@pytest.mark.slow
def test_a_writer_stopped_at_any_boundary_wakes_up_and_divides_nothing(fast_folder: Path) -> None:
    """Stopped before every effect of a commit and an append; the primary moves, a rival writes; then it goes on."""
    command = [sys.executable, "-m", "tests.faults.zombies", str(fast_folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    outcome = json.loads(done.stdout)
    for name, count in outcome["outcomes"].items():
        for _ in range(count):
            LEDGER.note(Kind.STOPPED, name)

    assert outcome["wrong"] == [], done.stderr
    assert outcome["boundaries"] >= 60
