"""Where data lies: the store, its backup, and where source files and base models arrive."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from airflow.sdk import Connection

from operators.connections.fields import extra_of
from operators.core.settings import LandingSettings, StorageSettings

STORE = "nightshift_store"
BACKUP = "nightshift_backup"
LANDING = "nightshift_landing"


def store_settings(connection: str = STORE) -> StorageSettings:
    """Return the settings of a store, the platform's own unless another connection is named."""
    return StorageSettings.from_json(json.dumps(extra_of(connection, "storage")))


def backup_settings() -> StorageSettings:
    """Return the settings of the backup store, whose credentials are its own."""
    return store_settings(BACKUP)


def landing_settings() -> LandingSettings:
    """Return where each source has its folder, and the keys to read there.

    Raises:
        ValueError: The connection names nothing that can be read; the message holds no value of it.
    """
    extra = {name: value for name, value in Connection.get(LANDING).extra_dejson.items() if value is not None}
    try:
        return LandingSettings(**extra)
    except TypeError:
        known = ", ".join(field.name for field in dataclasses.fields(LandingSettings))
        raise ValueError(f"connection {LANDING}: its extra must have url, and may have others of {known}") from None


def models_folder() -> Path:
    """Return the local folder that holds a folder for each model that waits to be adopted."""
    return Path(extra_of("nightshift_models", "folder"))
