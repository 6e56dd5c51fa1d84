"""What tasks leave on the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context

    from operators.core.storage import Store


def note_change(store: Store, context: Context, action: str, subject: str, detail: str = "") -> None:
    """Have what a task did on the trail, once for its run however often the task is tried."""
    from operators.core.storage.audit import Change, note

    instance = context["ti"]
    run = f"{instance.dag_id} {instance.run_id}"
    event = f"{run} {instance.task_id}"
    note(store, Change(action=action, subject=subject, by=run, event=event, detail=detail))
