"""What a run did and cost, from the accounts beside its manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.core.overview.runs import Run, TaskRun
from operators.core.storage import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A task of the run, with what the store has of it."""

    task: TaskRun
    outcome: str | None
    """`made`: computed in this run; `found`: there before; None where it returned nothing."""
    useful_seconds: float = 0.0
    """Spent on what the result is made of."""
    waiting_seconds: float = 0.0
    """Of a training: waiting for data, saves and others, starting and finishing."""
    lost_seconds: float = 0.0
    """Steps done twice, and tries that failed."""
    joules: float | None = None
    energy: str | None = None
    """How the joules are known: `nvml`, `estimated`, `unknown`; None where nothing was trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Night:
    """What a run came to."""

    run: Run
    steps: tuple[Step, ...]
    rows: Mapping[str, Any] | None
    """Of the data set: in, kept, duplicates, near_duplicates, quarantined by reason."""
    drift: Mapping[str, Any] | None
    day: str | None = None
    """Of the data."""
    energies: frozenset[str] = field(default_factory=frozenset)
    """How the joules of its trainings are known."""

    def count(self, outcome: str) -> int:
        """Return how many tasks came to that."""
        return sum(step.outcome == outcome for step in self.steps)

    @property
    def useful_seconds(self) -> float:
        """Return the seconds spent on results, all tasks together."""
        return sum(step.useful_seconds for step in self.steps)

    @property
    def waiting_seconds(self) -> float:
        """Return the seconds that trainings waited, started and finished."""
        return sum(step.waiting_seconds for step in self.steps)

    @property
    def lost_seconds(self) -> float:
        """Return the seconds that were spent in vain."""
        return sum(step.lost_seconds for step in self.steps)

    @property
    def joules(self) -> float:
        """Return the energy that is known of."""
        return sum(step.joules or 0.0 for step in self.steps)

    @property
    def quarantined(self) -> int:
        """Return how many rows are held back."""
        return sum(self.rows["quarantined"].values()) if self.rows else 0


def read_night(store: Store, run: Run) -> Night:
    """Return what a run came to; a task that returned nothing has no more than Airflow's seconds.

    Raises:
        StorageError: The store does not tell.
    """
    steps = tuple(_step(store, run, task) for task in run.tasks)
    dataset, drift = run.digest("publish_dataset"), run.digest("check_drift")
    facts = store.manifest(dataset).facts if dataset else {}
    return Night(
        run=run,
        steps=steps,
        rows=facts.get("rows"),
        drift=store.manifest(drift).facts if drift else None,
        day=facts.get("day") or run.day,
        energies=frozenset(step.energy for step in steps if step.energy),
    )


def outcome_of(accounts: list[dict[str, Any]], run_id: str, task_id: str) -> str | None:
    """Return whether a task of a run `made` its result or `found` all of it, from accounts of the results' run keys."""
    own = {one["outcome"] for one in accounts if one.get("run_id") == run_id and one.get("task_id") == task_id}
    if not own:
        return None
    return "found" if own == {"found"} else "made"


def _step(store: Store, run: Run, task: TaskRun) -> Step:
    accounts = [one for digest in task.digests for one in store.accounts(store.manifest(digest).run_key)]
    outcome = outcome_of(accounts, run.run_id, task.task_id)
    own = [one for one in accounts if one.get("run_id") == run.run_id and one.get("task_id") == task.task_id]
    spent = next((one for one in reversed(own) if one.get("spent") and one["outcome"] == "made"), None)
    if spent is None:
        return Step(
            task=task,
            outcome=outcome,
            useful_seconds=task.seconds if outcome else 0.0,
            lost_seconds=task.lost_seconds,
        )
    kinds = spent["spent"]
    return Step(
        task=task,
        outcome=outcome,
        useful_seconds=kinds["useful"],
        waiting_seconds=sum(kinds["waiting"].values()) + sum(kinds["idle"].values()),
        # A try that failed had its steps saved: what of it was done again is among the repeated ones.
        lost_seconds=kinds["repeated"],
        joules=spent.get("joules"),
        energy=spent.get("energy") or "unknown",
    )
