"""A store after one night, made once and copied for each test, and the landing zone it was made from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store
from tests.conftest import NAMES
from tests.core.erasure.nights import land_week, night
from tests.core.recovery.conftest import new_store


def settings_of(folder: Path) -> StorageSettings:
    """Return the settings of a store of three directories below a folder."""
    endpoints = tuple(EndpointSettings(name=name, url=f"file://{folder / name}") for name in NAMES)
    return StorageSettings(endpoints=endpoints, acknowledge=2)


@pytest.fixture(scope="session")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a landing zone of four days, and the store that a night made of it."""
    folder = tmp_path_factory.mktemp("first_night")
    for name in NAMES:
        (folder / name).mkdir()
    initialise(settings_of(folder), rounds=0)
    land_week(folder / "landing")
    store = open_store(settings_of(folder))
    night(store, folder / "landing")
    store.close()
    return folder


@pytest.fixture
def storage_settings(tmp_path: Path, first_night: Path) -> StorageSettings:
    """Settings of a copy of that store."""
    for name in NAMES:
        shutil.copytree(first_night / name, tmp_path / name)
    return settings_of(tmp_path)


@pytest.fixture
def landing(tmp_path: Path, first_night: Path) -> Path:
    """A copy of that landing zone."""
    return Path(shutil.copytree(first_night / "landing", tmp_path / "landing"))


@pytest.fixture
def backup(tmp_path: Path) -> Store:
    """An empty backup store."""
    return new_store(tmp_path / "backup", 1, 1)
