"""Platforms for tests, ended whatever happens."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from operators.local import ports
from tests.e2e.bed import Bed


@pytest.fixture(scope="module")
def make_bed() -> Iterator[Callable[[], Bed]]:
    """A maker of platforms that are down yet; all of them are ended and removed after the module."""
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
