"""Folders and files of the machine that a task runs on."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import Connection

from operators.connections.fields import extra_of


def scratch_folder() -> Path:
    """Return the local work area; what lies there can be lost at any time."""
    return Path(extra_of("nightshift_local", "scratch"))


def data_docs_folder() -> Path:
    """Return the folder of the Data Docs site."""
    return Path(extra_of("nightshift_local", "data_docs"))


def airflow_database_path() -> Path | None:
    """Return the path of Airflow's SQLite database; None where Airflow keeps it elsewhere."""
    path = Connection.get("nightshift_local").extra_dejson.get("airflow_database")
    return Path(path) if path else None
