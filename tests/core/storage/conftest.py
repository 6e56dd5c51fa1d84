"""One suite, two kinds of endpoint: directories always, real S3 servers in the `integration` tier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store
from tests.conftest import NAMES
from tests.encryption import ENCRYPTION


@pytest.fixture(params=["directories", pytest.param("s3", marks=[pytest.mark.integration, pytest.mark.timeout(180)])])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> StorageSettings:
    """Settings of three empty endpoints, two of which acknowledge; not yet initialised.

    Encrypted at rest on directories, as a platform is by default; the stores of other tests hold files as they are.
    """
    if request.param == "directories":
        for name in NAMES:
            (tmp_path / name).mkdir()
        endpoints = [EndpointSettings(name=name, url=f"file://{tmp_path / name}") for name in NAMES]
    else:
        servers = request.getfixturevalue("seaweed")
        for server in servers:
            server.empty()
        endpoints = [server.settings() for server in servers]
    encryption = ENCRYPTION if request.param == "directories" else None
    return StorageSettings(endpoints=tuple(endpoints), acknowledge=2, encryption=encryption)


@pytest.fixture
def stores(settings: StorageSettings) -> Iterator[list[Store]]:
    """Two openings of one store, as two processes have them."""
    initialise(settings, rounds=0)
    opened = [open_store(settings), open_store(settings)]
    yield opened
    for store in opened:
        store.close()
