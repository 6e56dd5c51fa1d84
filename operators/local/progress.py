"""How a run stands: task instances gathered into one line a task, with a bar where the task's log reports progress."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_LINE = re.compile(r"^progress (\d+)/(\d+)\s*(.*)$")

# Of the instances of a mapped task the first of these that any of them has speaks for all.
_LOUDEST = (
    "failed", "upstream_failed", "up_for_retry", "running", "restarting", "queued", "scheduled", "deferred",
    "awaiting_input", "up_for_reschedule", "removed", "success", "skipped",
)  # fmt: skip

FINISHED = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """The newest progress line of a task."""

    done: int
    total: int
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskProgress:
    """One task of a run."""

    task_id: str
    state: str
    """Airflow's word, `waiting` before it has one."""
    seconds: float
    """From the first start to the last end, or to now."""
    tries: int
    instances: int
    finished: int
    is_mapped: bool = False
    step: Step | None = None

    @property
    def is_finished(self) -> bool:
        """Say whether nothing of it is left to do."""
        return self.state in FINISHED


def last_step(lines: Iterable[str]) -> Step | None:
    """Return what the last `progress 120/540 steps, loss 0.231` among a log's lines says; None where there is none."""
    found = None
    for line in lines:
        match = _LINE.match(line.strip())
        if match:
            found = Step(done=int(match[1]), total=int(match[2]), note=match[3])
    return found


def gather(order: Sequence[str], instances: Iterable[dict[str, Any]], now: datetime.datetime) -> list[TaskProgress]:
    """Return a line a task in the given order, from Airflow's task instances."""
    by_task: dict[str, list[dict[str, Any]]] = {task_id: [] for task_id in order}
    for instance in instances:
        by_task.setdefault(instance["task_id"], []).append(instance)
    return [_gather_one(task_id, found, now) for task_id, found in by_task.items()]


def _gather_one(task_id: str, instances: list[dict[str, Any]], now: datetime.datetime) -> TaskProgress:
    states = [instance["state"] for instance in instances]
    state = next((word for word in _LOUDEST if word in states), "waiting")
    if state == "success" and None in states:
        state = "running"  # some instances of a mapped task have not begun
    starts = [_instant(instance["start_date"]) for instance in instances if instance.get("start_date")]
    ends = [_instant(instance["end_date"]) for instance in instances if instance.get("end_date")]
    finished = sum(word in FINISHED for word in states)
    end = max(ends) if ends and finished == len(instances) else now
    return TaskProgress(
        task_id=task_id,
        state=state,
        seconds=(end - min(starts)).total_seconds() if starts else 0.0,
        tries=max((instance.get("try_number") or 0 for instance in instances), default=0),
        instances=len(instances),
        finished=finished,
        is_mapped=any(instance.get("map_index", -1) >= 0 for instance in instances),
    )


def _instant(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
