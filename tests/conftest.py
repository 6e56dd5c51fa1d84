"""Fixtures that every test may use: a real store in directories."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store

if TYPE_CHECKING:
    from tests.seaweed import Seaweed

# On a shared machine the clock tells nothing about the code.
settings.register_profile("nightshift", deadline=None)
settings.load_profile("nightshift")

NAMES = ("site_a", "site_b", "site_c")
"""The three sites of a store in tests."""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a short name: pytest's own are too long for the Unix socket of a platform."""
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        yield Path(folder)


@pytest.fixture
def storage_settings(tmp_path: Path) -> StorageSettings:
    """Settings of a store in three directories, two of which acknowledge; not yet initialised."""
    endpoints = []
    for name in NAMES:
        (tmp_path / name).mkdir()
        endpoints.append(EndpointSettings(name=name, url=f"file://{tmp_path / name}"))
    return StorageSettings(endpoints=tuple(endpoints), acknowledge=2)


@pytest.fixture
def store(storage_settings: StorageSettings) -> Store:
    """An initialised, empty store in three directories."""
    initialise(storage_settings, rounds=0)
    return open_store(storage_settings)


@pytest.fixture(scope="session")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a landing zone of four days, and in three directories the store that a night made of it."""
    from tests.core.erasure.nights import land_week, night, settings_of  # and with it Arrow

    folder = tmp_path_factory.mktemp("first_night")
    for name in NAMES:
        (folder / name).mkdir()
    initialise(settings_of(folder), rounds=0)
    land_week(folder / "landing")
    store = open_store(settings_of(folder))
    night(store, folder / "landing")
    store.close()
    return folder


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Seaweed]]:
    """Three independent SeaweedFS servers on loopback."""
    from tests.seaweed import Seaweed  # and with it an S3 client, which most tests do without

    servers = [Seaweed(name, tmp_path_factory.mktemp(name)) for name in NAMES]
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait()
        yield servers
    finally:
        for server in servers:
            server.kill()
