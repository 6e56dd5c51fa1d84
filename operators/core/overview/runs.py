"""What Airflow knows of a run, as plain values: the store's side of a night is looked up by them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

FAILED = ("failed", "upstream_failed")
ENDED = ("success", "failed")


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRun:
    """One task of a run; of a mapped one, all its instances together."""

    task_id: str
    state: str
    """Of the worst instance, in Airflow's words; `none` before it is scheduled."""
    seconds: float = 0.0
    """Of the newest tries, all instances together."""
    lost_seconds: float = 0.0
    """Of tries that failed, former ones included."""
    tries: int = 1
    digests: tuple[str, ...] = ()
    """Of the manifests that it returned."""
    failed_index: int = -1
    """Of the first failed instance of a mapped task; -1 for another task."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run of a DAG."""

    dag_id: str
    run_id: str
    kind: str
    """`scheduled`, `manual`, `backfill`."""
    state: str
    began_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None
    day: str | None = None
    """Of the data, where the run names it."""
    tasks: tuple[TaskRun, ...] = ()

    @property
    def has_ended(self) -> bool:
        """Say whether nothing of it will change any more, unless somebody clears it."""
        return self.state in ENDED

    @property
    def seconds(self) -> float:
        """Return how long it took, from its first task to its last; 0 while it goes on."""
        if self.began_at is None or self.ended_at is None:
            return 0.0
        return (self.ended_at - self.began_at).total_seconds()

    @property
    def had_nothing_to_do(self) -> bool:
        """Say whether it ended well without any task's work: a day without data."""
        return self.state == "success" and not any(task.state == "success" and task.digests for task in self.tasks)

    @property
    def was_skipped(self) -> bool:
        """Say whether it ended well for there was nothing to do: a rehearsal before the first backup."""
        return self.state == "success" and bool(self.tasks) and all(task.state == "skipped" for task in self.tasks)

    def task(self, task_id: str) -> TaskRun | None:
        """Return a task, None where the run has no such."""
        return next((task for task in self.tasks if task.task_id == task_id), None)

    def digest(self, *task_ids: str) -> str | None:
        """Return the first manifest of the first of these tasks that returned any."""
        found = (task.digests[0] for name in task_ids if (task := self.task(name)) and task.digests)
        return next(found, None)

    @property
    def failed(self) -> tuple[TaskRun, ...]:
        """Return the tasks that failed themselves, not for want of another."""
        return tuple(task for task in self.tasks if task.state == "failed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """A task that waits for a person's word."""

    run_id: str
    task_id: str
    subject: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipeline:
    """A DAG and its newest runs."""

    dag_id: str
    title: str
    recipe: str | None = None
    """Whose model it retrains; None for the platform's upkeep."""
    is_paused: bool = False
    is_broken: bool = False
    """Whether its file cannot be read any more: it makes no runs, and what is known of it is from before."""
    next_at: datetime.datetime | None = None
    """When its next run begins by the schedule."""
    runs: tuple[Run, ...] = ()
    """Newest first; the tasks of the first alone are known."""
    approvals: tuple[Approval, ...] = ()

    @property
    def is_asleep(self) -> bool:
        """Say whether nobody wants anything of it: paused, and never run."""
        return self.is_paused and not self.runs

    @property
    def newest(self) -> Run | None:
        """Return the newest run, None before the first."""
        return self.runs[0] if self.runs else None
