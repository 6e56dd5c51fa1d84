"""What a killed service leaves behind is ended before it starts again, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from operators.local.service import end_former, left_behind

SLEEP = "import sys, time; time.sleep(60)"


@pytest.fixture
def orphans(tmp_path: Path):
    """A process group with one process that is called as Airflow's are, and one that is not."""
    fake = tmp_path / "bin" / "airflow"
    fake.parent.mkdir()
    fake.write_text("import time; time.sleep(60)")
    leader = subprocess.Popen([sys.executable, str(fake), "scheduler"], process_group=0)
    other = subprocess.Popen([sys.executable, "-c", SLEEP, "torchrun"], process_group=leader.pid)
    deadline = time.monotonic() + 10
    while not left_behind(leader.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    yield leader, other
    for process in (leader, other):
        process.kill()
        process.wait()


def test_only_airflows_own_processes_of_the_former_group_are_ended(orphans, tmp_path: Path):
    """A training that a task started lives on for that task's next try."""
    leader, other = orphans
    record = tmp_path / "scheduler.group"
    record.write_text(str(leader.pid))
    end_former(record)

    assert leader.wait(timeout=5) == -9
    assert other.poll() is None
    assert str(os.getpgid(0)) == record.read_text()


def test_a_first_start_ends_nothing(tmp_path: Path):
    """Without a record there is no former process."""
    end_former(tmp_path / "scheduler.group")

    assert str(os.getpgid(0)) == (tmp_path / "scheduler.group").read_text()
