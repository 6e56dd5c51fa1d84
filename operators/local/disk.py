"""Refuse to start on a disk that would run full half-way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from operators.local.layout import PlatformError

VARIABLE = "NIGHTSHIFT_MIN_FREE_GB"
NEEDED_GB = 3.0
"""A first run of `mail_triage` writes about 1.5 GB: three copies, the backup, the servers' own, logs and scratch."""


def check_disk(home: Path, environment: Mapping[str, str]) -> None:
    """Return if the disk under `home` has room for a run.

    Raises:
        PlatformError: It has not; the message says how much there is and how much is needed.
    """
    text = environment.get(VARIABLE) or str(NEEDED_GB)
    try:
        needed = float(text)
    except ValueError:
        raise PlatformError(f"{VARIABLE}={text}: give a number of gigabytes, e.g. {NEEDED_GB}.") from None
    existing = next(folder for folder in (home, *home.parents) if os.path.isdir(folder))
    free = shutil.disk_usage(existing).free / 1e9
    if free < needed:
        raise PlatformError(
            f"too little disk under {existing}: {free:.1f} GB free, {needed:.1f} GB needed. Nothing was started. "
            f"Make room, put the state elsewhere (NIGHTSHIFT_HOME=FOLDER), or set {VARIABLE} if you know better."
        )
