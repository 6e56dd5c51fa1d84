"""How full the disk is, and no start on one that would run full half-way."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from operators.local.layout import Layout, PlatformError

VARIABLE = "NIGHTSHIFT_MIN_FREE_GB"
NEEDED_GB = 3.0
"""A first run of `mail_triage` writes about 1.5 GB: three copies, the backup, the servers' own, logs and scratch."""


GROWTH = 5
"""Times what the last run's backup holds: three copies of it, one on the backup store, and one in scratch."""


def disk_use(layout: Layout) -> dict[str, int]:
    """Return the bytes that each part of a platform's state takes, each endpoint singly, and what is `free` beside."""
    parts = {folder.name: folder for folder in sorted(layout.endpoints.glob("*"))}
    parts |= {folder.name: folder for folder in (layout.servers, layout.cache, layout.log, layout.landing)}
    used = {name: _bytes_below(folder) for name, folder in parts.items()}
    return {**used, "free": shutil.disk_usage(_existing(layout.home)).free}


def needed_gigabytes(layout: Layout, environment: Mapping[str, str]) -> float:
    """Return how much must be free for a run: as the user says, else by what the last run came to.

    Raises:
        PlatformError: What the user says is no number.
    """
    if text := environment.get(VARIABLE):
        try:
            return float(text)
        except ValueError:
            raise PlatformError(f"{VARIABLE}={text}: give a number of gigabytes, e.g. {NEEDED_GB}.") from None
    try:
        backup = json.loads(layout.summary.read_text()).get("backup") or {}
    except (OSError, ValueError):  # there was no run yet, or its summary is half gone
        backup = {}
    return max(NEEDED_GB, GROWTH * backup.get("bytes", 0) / 1e9)


def check_disk(layout: Layout, environment: Mapping[str, str]) -> None:
    """Return if the disk under the platform's state has room for a run.

    Raises:
        PlatformError: It has not; the message says how much there is and how much is needed.
    """
    needed, existing = needed_gigabytes(layout, environment), _existing(layout.home)
    free = shutil.disk_usage(existing).free / 1e9
    if free < needed:
        raise PlatformError(
            f"too little disk under {existing}: {free:.1f} GB free, {needed:.1f} GB needed. No run was started. "
            f"Make room, put the state elsewhere (NIGHTSHIFT_HOME=FOLDER), or set {VARIABLE} if you know better."
        )


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if os.path.isdir(one))


def _bytes_below(folder: Path) -> int:
    """Return what files below a folder take on disk; some may go meanwhile."""
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(top, name)).st_blocks * 512
    return total
