"""A run's tasks in one line each."""

from __future__ import annotations

import datetime
import io

import pytest
from rich.console import Console

from operators.local.display import Display
from operators.local.progress import Step, TaskProgress, gather, last_step
from operators.local.rest import topological

NOW = datetime.datetime(2026, 1, 1, 12, 0, 30, tzinfo=datetime.UTC)


def instance(
    task_id: str, state: str | None, start: str | None = None, end: str | None = None, index: int = -1
) -> dict:
    """Return a task instance as Airflow's REST API has it."""
    return {
        "task_id": task_id, "state": state, "map_index": index, "try_number": 1,
        "start_date": start and f"2026-01-01T12:00:{start}Z", "end_date": end and f"2026-01-01T12:00:{end}Z",
    }  # fmt: skip


def test_the_last_progress_line_of_a_log_counts():
    """Other lines are passed over, and the newest report wins."""
    lines = ["Pre task execution", "progress 60/540 steps, loss 0.4", "progress 120/540 steps, loss 0.231", "done"]

    assert Step(done=120, total=540, note="steps, loss 0.231") == last_step(lines)


@pytest.mark.parametrize("lines", [[], ["progress made"], ["no progress 1/2"]])
def test_a_log_without_progress_has_no_step(lines):
    """Nothing is guessed from lines that only look alike."""
    assert last_step(lines) is None


def test_a_mapped_task_is_as_far_as_its_slowest_instance():
    """One running instance keeps the task running; the finished ones are counted."""
    found = [instance("validate", "success", "00", "10", 0), instance("validate", "running", "05", None, 1)]
    (task,) = gather(["validate"], found, NOW)

    assert (task.state, task.instances, task.finished, task.seconds, task.is_mapped) == ("running", 2, 1, 30.0, True)


def test_a_failed_instance_fails_its_task():
    """A failure is not hidden by the instances that succeeded."""
    found = [instance("ingest", "success", "00", "10", 0), instance("ingest", "failed", "00", "12", 1)]
    (task,) = gather(["ingest"], found, NOW)

    assert (task.state, task.seconds) == ("failed", 12.0)


def test_a_task_that_has_no_instance_yet_waits():
    """Tasks appear in the order of the DAG before they exist."""
    assert [task.state for task in gather(["a", "b"], [instance("b", None)], NOW)] == ["waiting", "waiting"]


def test_tasks_stand_before_those_that_need_them():
    """The order on screen is the order of dependencies."""
    assert topological({"gate": [], "train": ["gate"], "discover": ["train"], "adopt": ["train"]}) == [
        "discover",
        "adopt",
        "train",
        "gate",
    ] or ["adopt", "discover", "train", "gate"]


def test_without_a_terminal_a_line_is_printed_when_a_task_changes():
    """A log file gets lines, one a change, and no escape codes."""
    out = io.StringIO()
    task = TaskProgress(task_id="fine_tune", state="running", seconds=3.0, tries=1, instances=1, finished=0)
    with Display(Console(file=out, width=100), "a run") as display:
        display.show([task])
        display.show([task])

    assert out.getvalue().splitlines() == ["a run", "fine_tune            running              3.0 s"]


def test_on_a_terminal_a_bar_is_drawn_for_a_task_that_reports_progress():
    """The bar stands with the step's own words."""
    out = io.StringIO()
    step = Step(done=120, total=540, note="steps, loss 0.231")
    task = TaskProgress(task_id="fine_tune", state="running", seconds=3.0, tries=2, instances=1, finished=0, step=step)
    with Display(Console(file=out, width=120, force_terminal=True), "a run") as display:
        display.show([task])

    assert "try 2, 120/540 steps, loss 0.231" in out.getvalue()
