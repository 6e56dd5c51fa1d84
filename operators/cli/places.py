"""Where the stores are: a file, the environment, or the platform of this machine."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from operators.cli.answer import WrongUse
from operators.cli.files import storage_in, text_of
from operators.core.progress import Progress
from operators.core.recipe import Recipe
from operators.core.settings import STORAGE_VARIABLE, LandingSettings, ServingSettings, StorageSettings
from operators.core.storage import Store, open_store
from operators.recipes import load_recipes

if TYPE_CHECKING:
    from operators.local.layout import Layout


def store_settings(options: argparse.Namespace) -> StorageSettings:
    """Return the settings of the store.

    Raises:
        WrongUse: Nothing says where it is.
    """
    if options.backup_store:
        return _platform()[1]
    if options.storage_file:
        return storage_in(options.storage_file)
    if os.environ.get(STORAGE_VARIABLE):
        return StorageSettings.from_environment(os.environ)
    return _platform()[0]


def backup_settings(path: str | None) -> StorageSettings:
    """Return the settings of the backup store, the platform's where no file is named."""
    return storage_in(path) if path else _platform()[1]


def serving_settings() -> ServingSettings:
    """Return where the platform's model servers are."""
    return _platform()[2]


def landing_settings(path: str | None) -> LandingSettings:
    """Return where source files arrive: as a file's JSON says, or on the platform.

    Raises:
        WrongUse: The file holds no such settings; the message holds no value of it.
    """
    if path is None:
        return LandingSettings(url=platform_layout().landing.as_uri())
    expected = "JSON with the fields of the connection nightshift_landing"
    try:
        return LandingSettings(**json.loads(text_of(path, expected)))
    except (TypeError, json.JSONDecodeError):
        raise WrongUse(f"{path}: {expected} is expected there") from None


def pseudonym_key(path: str | None) -> bytes:
    """Return the key of the pseudonyms: a file's hexadecimal digits, or the platform's.

    Raises:
        WrongUse: The file holds no such key; the message does not repeat it.
    """
    from operators.local.credentials import load_credentials

    expected = "the pseudonym key, at least 64 hexadecimal digits,"
    digits = load_credentials(platform_layout()).pseudonym_key if path is None else text_of(path, expected)
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if len(key) < 32:
        raise WrongUse(f"{path}: {expected} is expected there")
    return key


def recipes(folder: str | None) -> list[Recipe]:
    """Return the recipes of a folder, or those of the DAGs that the platform serves."""
    from operators.local import airflow

    if folder is None:
        variables = airflow.read_environment(platform_layout().airflow_environment)
        return load_recipes(Path(variables["AIRFLOW__CORE__DAGS_FOLDER"]) / "recipes")
    return load_recipes(Path(folder))


def platform_layout() -> Layout:
    """Return where this machine's platform lies.

    Raises:
        WrongUse: There is none.
    """
    from operators.local.layout import Layout

    layout = Layout.from_environment(os.environ)
    if not (layout.secrets / "credentials.json").is_file():
        raise WrongUse(
            f"no platform in {layout.home}: start it with `make run`, set NIGHTSHIFT_HOME to its folder, or name the "
            f"store with --storage-file or {STORAGE_VARIABLE}"
        )
    return layout


def _platform() -> tuple[StorageSettings, StorageSettings, ServingSettings]:
    """Return the store, the backup store and the servers of this machine's platform; never makes one."""
    from operators.local import ports, seaweedfs, serving
    from operators.local.credentials import load_credentials

    layout = platform_layout()
    placed, credentials = ports.load(layout), load_credentials(layout)
    store = seaweedfs.store_settings(layout, placed, credentials)
    servers = serving.serving_settings(layout, placed, credentials)
    return store, seaweedfs.backup_settings(placed, credentials), servers


@contextmanager
def opened(settings: StorageSettings) -> Iterator[Store]:
    """Open a store for the length of a block."""
    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def shown_progress(title: str, unit: str = "bytes") -> Iterator[Progress]:
    """Show a bar of one unit on standard error while a block runs; on a terminal only, so that logs stay short."""
    console = Console(stderr=True)
    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def report(done: int, total: int, note: str) -> None:
            if note.startswith(unit):
                bar.update(task, completed=done, total=total)

        yield report
