"""Airflow's database in a file, with rows as a scheduler leaves them: what the pages read, without a scheduler."""

from __future__ import annotations

import datetime
import uuid
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

BEGAN = datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC)


class AirflowDatabase:
    """Tables as Airflow's models declare them."""

    def __init__(self, path: Path | None = None, *, url: str = "") -> None:
        from airflow.models import import_all_models
        from airflow.models.base import Base

        import_all_models()
        self._engine = create_engine(url or f"sqlite:///{path}")
        Base.metadata.create_all(self._engine)
        self.session = Session(self._engine)
        self._runs = 0

    def close(self) -> None:
        """End the connection."""
        self.session.close()
        self._engine.dispose()

    def add_dag(self, dag_id: str, title: str, tags: tuple[str, ...] = ("nightshift",), **changes: Any) -> None:
        """Have a DAG there, parsed and awake."""
        from airflow.models.dag import DagModel, DagTag

        values = {"is_stale": False, "is_paused": False, "max_active_tasks": 16, "max_consecutive_failed_dag_runs": 0}
        row = {"dag_id": dag_id, "bundle_name": "dags", "dag_display_name": title, **values, **changes}
        self.session.execute(insert(DagModel.__table__), [{**row, "has_task_concurrency_limits": False}])
        self.session.execute(insert(DagTag.__table__), [{"dag_id": dag_id, "name": tag} for tag in tags])

    def add_run(self, dag_id: str, run_id: str, state: str = "success", day: int = 0, **changes: Any) -> None:
        """Have a run there that began so many days after the first one, and took ten minutes."""
        from airflow.models.dagrun import DagRun

        began = BEGAN + datetime.timedelta(days=day)
        self._runs += 1
        row = {
            "id": self._runs, "dag_id": dag_id, "run_id": run_id, "state": state, "run_type": "scheduled",
            "run_after": began, "start_date": began, "end_date": began + datetime.timedelta(minutes=10),
            "data_interval_start": began - datetime.timedelta(days=1), "clear_number": 0, "span_status": "not_started",
        }  # fmt: skip
        self.session.execute(insert(DagRun.__table__), [{**row, **changes}])

    def add_task(
        self, dag_id: str, run_id: str, task_id: str, state: str | None = "success", **changes: Any
    ) -> uuid.UUID:
        """Have a task there that took two seconds; return its id."""
        from airflow.models.taskinstance import TaskInstance

        number = uuid.uuid4()
        self.session.execute(
            insert(TaskInstance.__table__), [self._task(dag_id, run_id, task_id, state, number, changes)]
        )
        return number

    def add_former_try(self, dag_id: str, run_id: str, task_id: str, state: str, **changes: Any) -> None:
        """Have a try there that another followed."""
        from airflow.models.taskinstancehistory import TaskInstanceHistory

        row = self._task(dag_id, run_id, task_id, state, uuid.uuid4(), changes)
        row["task_instance_id"] = row.pop("id")
        self.session.execute(insert(TaskInstanceHistory.__table__), [row])

    def add_result(self, dag_id: str, run_id: str, task_id: str, value: Any, map_index: int = -1) -> None:
        """Have there what a task returned."""
        from airflow.models.xcom import XComModel

        row = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index, "key": "return_value"}
        self.session.execute(insert(XComModel.__table__), [{**row, "dag_run_id": self._runs, "value": value}])

    def ask(self, task_instance: uuid.UUID, subject: str, only: str | None = None) -> None:
        """Have a task wait for a person, for one alone where he is named."""
        from airflow.models.hitl import HITLDetail

        row = {"ti_id": task_instance, "options": ["Approve"], "subject": subject, "params": {}, "params_input": {}}
        asked = [{"id": only, "name": only}] if only else None
        self.session.execute(insert(HITLDetail.__table__), [{**row, "created_at": BEGAN, "assignees": asked}])

    @staticmethod
    def _task(
        dag_id: str, run_id: str, task_id: str, state: str | None, number: uuid.UUID, changes: dict[str, Any]
    ) -> dict[str, Any]:
        row = {
            "id": number, "dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": -1,
            "state": state, "duration": 2.0, "start_date": BEGAN, "end_date": BEGAN, "try_number": 1, "pool": "default",
            "pool_slots": 1, "span_status": "not_started", "executor_config": {},
        }  # fmt: skip
        return {**row, **changes}
