"""Temporary folders: one's own while one lives, nobody's afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from operators.core import scratch
from operators.core.scratch import scratch_folder

CHILD = """
import sys, time
from operators.core.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "model").write_text("weights")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, for this process and its children, not yet swept."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    scratch._sweep.cache_clear()
    return tmp_path


def age(folder: Path) -> None:
    """Make a folder look an hour old."""
    past = folder.stat().st_mtime - 3600
    os.utime(folder, (past, past))


def test_it_is_gone_after_the_block_whatever_happened(temporary: Path) -> None:
    """An error takes the files along."""

    def fail() -> None:
        with scratch_folder() as folder:
            (folder / "model").write_text("weights")
            assert folder.parent == temporary
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert not list(temporary.iterdir())


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(temporary: Path) -> None:
    """SIGKILL leaves a folder; its age alone does not speak against one whose process lives."""
    children = [subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        folders = [Path(child.stdout.readline().strip()) for child in children if child.stdout]
        children[0].kill()
        children[0].wait()
        for folder in folders:
            age(folder)
        with scratch_folder():
            pass

        assert [folder.exists() for folder in folders] == [False, True]
    finally:
        for child in children:
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()


def test_a_folder_that_is_being_made_stays(temporary: Path) -> None:
    """One that is not locked yet may belong to a process that is about to."""
    (temporary / f"{scratch.PREFIX}young").mkdir()
    (temporary / "another").mkdir()
    age(temporary / "another")
    with scratch_folder():
        pass

    assert sorted(path.name for path in temporary.iterdir()) == ["another", f"{scratch.PREFIX}young"]
