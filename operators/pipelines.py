"""What Airflow's database knows of our DAGs and their newest runs, as plain values. For the API server only."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from operators.core.manifest import DIGEST_PATTERN
from operators.core.overview.runs import Approval, Pipeline, Run, TaskRun

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

TAG, RETRAINING = "nightshift", "retrain_"
MOST_RUNS = 14
"""Of a DAG that are shown; the tasks of the newest alone are read."""

_WORST_FIRST = (
    "failed", "upstream_failed", "awaiting_input", "up_for_retry", "running", "restarting", "deferred",
    "up_for_reschedule", "queued", "scheduled", "none", "success", "skipped", "removed",
)  # fmt: skip
_WELL = ("success", "skipped", "removed", None)


def read_pipelines(session: Session, dag_ids: Collection[str]) -> list[Pipeline]:
    """Return our DAGs among these, those that retrain first, then by name.

    Cost: four small queries a DAG, whatever the number of runs.
    """
    from airflow.models.dag import DagModel, DagTag
    from sqlalchemy import or_, select

    query = (
        select(DagModel)
        .join(DagTag, DagTag.dag_id == DagModel.dag_id)
        .where(DagTag.name == TAG, DagModel.dag_id.in_(dag_ids))
        # Airflow calls the DAGs of a file that it cannot read stale, like those that are meant to be gone.
        .where(or_(DagModel.is_stale.is_(False), DagModel.has_import_errors.is_(True)))
    )
    found = [_pipeline(session, one) for one in session.scalars(query)]
    return sorted(found, key=lambda one: (one.recipe is None, one.title))


def _pipeline(session: Session, dag: Any) -> Pipeline:
    is_retraining = dag.dag_id.startswith(RETRAINING)
    return Pipeline(
        dag_id=dag.dag_id,
        title=dag.dag_display_name,
        recipe=dag.dag_id.removeprefix(RETRAINING) if is_retraining else None,
        is_paused=dag.is_paused,
        is_broken=bool(dag.has_import_errors),
        next_at=dag.next_dagrun_create_after,
        runs=_runs(session, dag.dag_id),
        approvals=_approvals(session, dag.dag_id),
    )


def _runs(session: Session, dag_id: str) -> tuple[Run, ...]:
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    query = select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.run_after.desc()).limit(MOST_RUNS)
    rows = list(session.scalars(query))
    return tuple(_run(row, _tasks(session, row) if index == 0 else ()) for index, row in enumerate(rows))


def _run(row: Any, tasks: tuple[TaskRun, ...]) -> Run:
    return Run(
        dag_id=row.dag_id,
        run_id=row.run_id,
        kind=str(getattr(row.run_type, "value", row.run_type)),
        state=str(getattr(row.state, "value", row.state)),
        began_at=row.start_date,
        ended_at=row.end_date,
        day=_day(row),
        tasks=tasks,
    )


def _day(row: Any) -> str | None:
    """Return the day that a run was triggered for, or that its schedule gives it; a manual one's data says."""
    chosen = (row.conf or {}).get("day")
    if chosen:
        return str(chosen)
    is_manual = str(getattr(row.run_type, "value", row.run_type)) == "manual"
    return None if is_manual or row.data_interval_start is None else row.data_interval_start.date().isoformat()


def _tasks(session: Session, run: Any) -> tuple[TaskRun, ...]:
    """Return a run's tasks in the order in which they began; those that did not, last."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from sqlalchemy import select

    def of_run(model: Any) -> list[Any]:
        query = select(model.task_id, model.map_index, model.state, model.duration, model.start_date, model.try_number)
        return list(session.execute(query.where(model.dag_id == run.dag_id, model.run_id == run.run_id)))

    digests, now, before = _digests(session, run), defaultdict(list), defaultdict(list)
    for row in of_run(TaskInstance):
        now[row.task_id].append(row)
    for row in of_run(TaskInstanceHistory):
        before[row.task_id].append(row)
    ordered = sorted(now.values(), key=lambda rows: min(_began(row) for row in rows))
    return tuple(_task(rows, before[rows[0].task_id], digests.get(rows[0].task_id, ())) for rows in ordered)


def _began(row: Any) -> tuple[bool, str]:
    return (row.start_date is None, row.start_date.isoformat() if row.start_date else row.task_id)


def _task(rows: Sequence[Any], before: Iterable[Any], digests: tuple[str, ...]) -> TaskRun:
    states = [row.state or "none" for row in rows]
    lost = [row.duration or 0.0 for row in [*before, *rows] if row.state not in (*_WELL, "running", "deferred")]
    failed = [row.map_index for row in rows if row.state == "failed"]
    return TaskRun(
        task_id=rows[0].task_id,
        state=min(states, key=lambda state: _WORST_FIRST.index(state) if state in _WORST_FIRST else 0),
        seconds=sum(row.duration or 0.0 for row in rows),
        lost_seconds=sum(lost),
        tries=max(row.try_number for row in rows),
        digests=digests,
        failed_index=min(failed, default=-1),
    )


def _digests(session: Session, run: Any) -> dict[str, tuple[str, ...]]:
    """Return what each task of a run returned, mapped ones in the order of their groups; only digests are believed."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    query = (
        select(XComModel.task_id, XComModel.value)
        .where(XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id, XComModel.key == "return_value")
        .order_by(XComModel.task_id, XComModel.map_index)
    )
    found: dict[str, list[str]] = defaultdict(list)
    for task_id, value in session.execute(query):
        found[task_id] += digests_in(value)
    return {task_id: tuple(dict.fromkeys(digests)) for task_id, digests in found.items()}


def digests_in(value: Any) -> list[str]:
    """Return the digests that a task returned, given its XCom as the database holds it."""
    if isinstance(value, str) and not DIGEST_PATTERN.fullmatch(value):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    listed = value if isinstance(value, list) else [value]
    return [one for one in listed if isinstance(one, str) and DIGEST_PATTERN.fullmatch(one)]


def _approvals(session: Session, dag_id: str) -> tuple[Approval, ...]:
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    query = (
        select(TaskInstance.run_id, TaskInstance.task_id, HITLDetail.subject)
        .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
        .where(TaskInstance.dag_id == dag_id, HITLDetail.responded_at.is_(None))
        .where(TaskInstance.state.in_(("awaiting_input", "deferred", "running")))
    )
    return tuple(Approval(run_id=run, task_id=task, subject=subject) for run, task, subject in session.execute(query))
