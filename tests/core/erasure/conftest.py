"""A copy of the store after one night for each test, the landing zone it was made from, and an empty backup store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from operators.core.settings import StorageSettings
from operators.core.storage import Store
from tests.core.erasure.nights import copy_of
from tests.core.recovery.conftest import new_store


@pytest.fixture
def storage_settings(tmp_path: Path, first_night: Path) -> StorageSettings:
    """Settings of a copy of that store."""
    return copy_of(first_night, tmp_path)


@pytest.fixture
def landing(tmp_path: Path, first_night: Path) -> Path:
    """A copy of that landing zone."""
    return Path(shutil.copytree(first_night / "landing", tmp_path / "landing"))


@pytest.fixture
def backup(tmp_path: Path) -> Store:
    """An empty backup store."""
    return new_store(tmp_path / "backup", 1, 1)
