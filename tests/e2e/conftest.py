"""Platforms for tests, ended whatever happens."""

from __future__ import annotations

import os
import shutil
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
def bed(make_bed: Callable[[], Bed]) -> Bed:
    """A platform for the main job, undisturbed."""
    return make_bed()


@pytest.fixture(scope="session")
def first(bed: Bed) -> dict[str, Any]:
    """The summary of its first run."""
    return bed.run()
