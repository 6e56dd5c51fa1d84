"""Too little disk is said before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.local.disk import VARIABLE, check_disk
from operators.local.layout import PlatformError


def test_too_little_disk_says_what_there_is_and_what_is_needed(tmp_path: Path):
    """The message has both figures and the ways out."""
    with pytest.raises(PlatformError, match=r"GB free, 1000000\.0 GB needed\. Nothing was started.*NIGHTSHIFT_HOME"):
        check_disk(tmp_path / "not" / "yet", {VARIABLE: "1e6"})


def test_enough_disk_passes_for_a_folder_that_does_not_exist_yet(tmp_path: Path):
    """The disk of the nearest existing folder is judged."""
    check_disk(tmp_path / "not" / "yet", {VARIABLE: "0.001"})


def test_a_figure_that_is_none_is_refused(tmp_path: Path):
    """A misspelt limit is not taken for no limit."""
    with pytest.raises(PlatformError, match="give a number"):
        check_disk(tmp_path, {VARIABLE: "lots"})
