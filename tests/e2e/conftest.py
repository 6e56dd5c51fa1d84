"""Platforms for tests, ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from operators.local import ports
from tests.e2e.bed import Bed


@pytest.fixture(scope="session")
def make_bed() -> Iterator[Callable[[], Bed]]:
    """A maker of platforms that are down yet; all of them are ended and removed after the session."""
    beds: list[Bed] = []

    def make() -> Bed:
        # pytest's own folders have names too long for a Unix socket.
        home = Path(tempfile.mkdtemp(prefix="nightshift-"))
        bed = Bed(home=home, base=ports.free_base(os.getpid() + 7 * len(beds)))
        bed.share_downloads()
        beds.append(bed)
        return bed

    yield make
    for bed in beds:
        bed.stop()
        shutil.rmtree(bed.home, ignore_errors=True)


@pytest.fixture(scope="session")
def another_airflow() -> Iterator[None]:
    """The ports that Airflow takes unless told, held by somebody else: UI, logs of scheduler and triggerer, health."""
    with contextlib.ExitStack() as stack:
        for port in (8080, 8793, 8794, 8974):
            with contextlib.suppress(OSError):  # held already: as well
                stack.enter_context(socket.create_server(("", port)))
        yield


@pytest.fixture(scope="session")
def bed(make_bed: Callable[[], Bed], another_airflow: None) -> Bed:
    """A platform for the main job, undisturbed, on a machine where somebody else's Airflow runs."""
    return make_bed()


@pytest.fixture(scope="session")
def first(bed: Bed) -> dict[str, Any]:
    """The summary of its first run."""
    return bed.run()
