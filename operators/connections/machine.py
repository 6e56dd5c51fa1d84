"""Folders and files of the machine that a task runs on."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import Connection

from operators.connections.fields import extra_of
from operators.core.overview.availability import History


def scratch_folder() -> Path:
    """Return the local work area; what lies there can be lost at any time."""
    return Path(extra_of("nightshift_local", "scratch"))


def data_docs_folder() -> Path:
    """Return the folder of the Data Docs site."""
    return Path(extra_of("nightshift_local", "data_docs"))


def task_log_folder() -> Path | None:
    """Return the folder of tasks' logs on this machine; None where they are kept elsewhere, by others' rules."""
    path = Connection.get("nightshift_local").extra_dejson.get("task_logs")
    return Path(path) if path else None


def availability() -> History | None:
    """Return how often predictions could be had; None where nobody watches that.

    Raises:
        DataError: The file holds no history.
    """
    path = Connection.get("nightshift_local").extra_dejson.get("availability")
    return History.load(Path(path)) if path else None
