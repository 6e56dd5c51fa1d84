"""A night in a real store as Airflow would tell of it: tasks with the digests that they returned, and accounts."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from operators.core.manifest import Made, StageCall
from operators.core.overview.runs import Pipeline, Run, TaskRun
from operators.core.recovery.back_up_platform import RECORD
from operators.core.storage import Store
from operators.core.storage.graph import closure
from operators.core.storage.listing import manifest_digests

RECIPE = "tiny"
DAG_ID = f"retrain_{RECIPE}"
NOON = datetime.datetime(2026, 11, 23, 7, 0, tzinfo=datetime.UTC)
SPENT = {
    "useful": 80.0,
    "repeated": 1.5,
    "waiting": {"data": 1.0, "saves": 0.5, "others": 0.5},
    "idle": {"starting": 10.0, "finishing": 1.0, "between": 4.0},
}


def task(task_id: str, *digests: str, state: str = "success", **changes: Any) -> TaskRun:
    """Return a task that took two seconds."""
    return TaskRun(task_id=task_id, state=state, seconds=2.0, digests=digests, **changes)


def run_of(*tasks: TaskRun, state: str = "success", run_id: str = "manual__1") -> Run:
    """Return a run of ten minutes that ended an hour before noon."""
    ended = NOON - datetime.timedelta(hours=1)
    return Run(
        dag_id=DAG_ID, run_id=run_id, kind="manual", state=state, began_at=ended - datetime.timedelta(minutes=10),
        ended_at=ended, tasks=tasks,
    )  # fmt: skip


def pipeline_of(*runs: Run, title: str = "Retrain tiny", **changes: Any) -> Pipeline:
    """Return the recipe's DAG with these runs, the newest first."""
    return Pipeline(dag_id=DAG_ID, title=title, recipe=RECIPE, runs=runs, **changes)


def stage(store: Store, name: str, facts: Mapping[str, Any], seed: int = 0) -> tuple[str, str]:
    """Commit a manifest without files; return its run key and digest."""
    call = StageCall(stage=name, revision=1, seed=seed)
    return call.run_key, store.once(call, lambda: Made(facts=facts)).digest


def note(store: Store, run_key: str, task_id: str, outcome: str, run_id: str = "manual__1", **more: Any) -> None:
    """Leave the account of a try beside a result."""
    account = {"dag_id": DAG_ID, "run_id": run_id, "task_id": task_id, "try_number": 1, "seconds": 2.0, **more}
    store.add_account(run_key, f"{task_id}.0.{run_id}.1", {**account, "outcome": outcome})


def first_run(store: Store, state: str = "success") -> Run:
    """Return the run that made what is live in the store of `first_night`."""
    head = store.stream(f"release-{RECIPE}").head()
    assert head is not None
    made = {manifest.stage: digest for digest, manifest in closure(store, manifest_digests(store)).items()}
    names = ("discover", "validate", "ingest", "publish_dataset", "fine_tune", "evaluate", "gate")
    tasks = [task(name, made[name]) for name in names if name in made]
    return run_of(*tasks, task("deploy", head.manifest), state=state)


def back_up_whole(store: Store, at: datetime.datetime, *sealed_for: str, **database: object) -> None:
    """Have a backup of the platform on record in the store."""
    facts = {"at": at.isoformat(), "objects": 412, "bytes": 231_000_000, "sealed_for": sorted(sealed_for), **database}
    _, digest = stage(store, "backup_record", facts, seed=int(at.timestamp()))
    stream = store.stream(RECORD)
    stream.append(digest, stream.head())


def back_up(backup: Store) -> str:
    """Have a backup of the recipe there, and return its digest."""
    _, digest = stage(backup, "back_up", {"objects": 3, "bytes": 30_000, "verified": 3})
    stream = backup.stream(f"backup-{RECIPE}")
    stream.append(digest, stream.head())
    return digest
