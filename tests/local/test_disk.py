"""Too little disk is said before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operators.local.disk import VARIABLE, check_disk, disk_use, needed_gigabytes
from operators.local.layout import Layout, PlatformError


def test_too_little_disk_says_what_there_is_and_what_is_needed(short_path: Path):
    """The message has both figures and the ways out."""
    with pytest.raises(PlatformError, match=r"GB free, 1000000\.0 GB needed\. No run was started.*NIGHTSHIFT_HOME"):
        check_disk(Layout(home=short_path / "not" / "yet"), {VARIABLE: "1e6"})


def test_enough_disk_passes_for_a_folder_that_does_not_exist_yet(short_path: Path):
    """The disk of the nearest existing folder is judged."""
    check_disk(Layout(home=short_path / "not" / "yet"), {VARIABLE: "0.001"})


def test_a_figure_that_is_none_is_refused(short_path: Path):
    """A misspelt limit is not taken for no limit."""
    with pytest.raises(PlatformError, match="give a number"):
        check_disk(Layout(home=short_path), {VARIABLE: "lots"})


def test_a_run_needs_room_for_what_the_last_one_came_to(short_path: Path):
    """Three copies, a backup and scratch of it; less than a first run's room is never asked for."""
    layout = Layout(home=short_path)
    figures = []
    for size in (10**6, 10**12):
        layout.summary.write_text(json.dumps({"backup": {"bytes": size}}))
        figures.append(needed_gigabytes(layout, {}))

    assert figures == [3.0, 5000.0]
    with pytest.raises(PlatformError, match=r"5000\.0 GB needed"):
        check_disk(layout, {})
    layout.summary.write_text('{"backup": null}')
    assert needed_gigabytes(layout, {}) == 3.0


def test_the_state_of_a_platform_is_weighed_part_by_part(short_path: Path):
    """Each endpoint singly, as the disk has it: a sparse file takes what was written of it."""
    layout = Layout(home=short_path)
    layout.make()
    (layout.endpoints / "store-1").mkdir()
    (layout.endpoints / "store-1" / "volume").write_bytes(b"x" * 8192)
    with (layout.log / "sparse").open("wb") as file:
        file.truncate(10**9)
    found = disk_use(layout)

    assert 8192 <= found["store-1"] < 65536
    assert found["log"] < 65536 and found["free"] > 0
