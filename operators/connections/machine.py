"""Folders and files of the machine that a task runs on."""

from __future__ import annotations

from pathlib import Path

from operators.connections.fields import extra_of


def scratch_folder() -> Path:
    """Return the local work area; what lies there can be lost at any time."""
    return Path(extra_of("nightshift_local", "scratch"))


def data_docs_folder() -> Path:
    """Return the folder of the Data Docs site."""
    return Path(extra_of("nightshift_local", "data_docs"))
