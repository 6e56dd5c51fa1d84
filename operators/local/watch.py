"""Follow one run to its end."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from operators.local.layout import Layout, PlatformError
from operators.local.progress import Step, TaskProgress, gather, last_step
from operators.local.rest import AirflowRest

POLL_SECONDS = 2.0
LOG_POLL_SECONDS = 4.0


class RunWatch:
    """The view of one run, with the progress lines of the tasks that run now."""

    def __init__(self, rest: AirflowRest, dag_id: str, run_id: str) -> None:
        self._rest = rest
        self._dag_id = dag_id
        self._run_id = run_id
        self._order = rest.task_order(dag_id)
        self._steps: dict[str, Step] = {}
        self._read_at: dict[str, float] = {}

    def follow(self, show: Callable[[Sequence[TaskProgress]], None]) -> str:
        """Show the tasks until the run ends; return its state, `success` or `failed`."""
        while True:
            state = str(self._rest.run(self._dag_id, self._run_id)["state"])
            show(self.tasks())
            if state in ("success", "failed"):
                return state
            time.sleep(POLL_SECONDS)

    def tasks(self) -> list[TaskProgress]:
        """Return every task as it stands now, in the order of their dependencies."""
        instances = self._rest.task_instances(self._dag_id, self._run_id)
        for instance in instances:
            if instance["state"] == "running":
                self._read_step(instance)
        lines = gather(self._order, instances, datetime.datetime.now(datetime.UTC))
        return [replace(line, step=self._steps.get(line.task_id)) for line in lines]

    def _read_step(self, instance: dict[str, Any]) -> None:
        task_id = instance["task_id"]
        now = time.monotonic()
        if now - self._read_at.get(task_id, 0) < LOG_POLL_SECONDS:
            return
        self._read_at[task_id] = now
        try:
            step = last_step(self._rest.log_lines(self._dag_id, self._run_id, instance))
        except PlatformError:
            return  # a bar is no reason to stop watching
        if step:
            self._steps[task_id] = step


def failures(rest: AirflowRest, layout: Layout, dag_id: str, run_id: str) -> list[str]:
    """Return a paragraph for each task that failed itself: its name, the error, and where its log lies."""
    failed = [task for task in rest.task_instances(dag_id, run_id) if task["state"] == "failed"]
    return [
        f"{_name(task)}: {_error(rest, dag_id, run_id, task)}\n  log: {_log(layout, dag_id, run_id, task)}"
        for task in failed
    ]


def _name(task: dict[str, Any]) -> str:
    return task["task_id"] if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]"


def _error(rest: AirflowRest, dag_id: str, run_id: str, task: dict[str, Any]) -> str:
    """Return the last line that names an exception; Airflow logs it with the words `Task failed with exception`."""
    try:
        lines = [line for message in rest.log_lines(dag_id, run_id, task) for line in message.splitlines()]
    except PlatformError:
        lines = []
    named = [line for line in lines if "Error" in line.split(":")[0] or line.split(":")[0].endswith(("Failed", "Lost"))]
    return (named or lines or ["no log"])[-1].strip()


def _log(layout: Layout, dag_id: str, run_id: str, task: dict[str, Any]) -> Path:
    mapped = [f"map_index={task['map_index']}"] if task["map_index"] >= 0 else []
    folder = layout.log / "tasks" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task['task_id']}"
    return folder.joinpath(*mapped, f"attempt={task['try_number']}.log")
