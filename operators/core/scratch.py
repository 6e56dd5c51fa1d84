"""Temporary folders that do not outlive a killed process for long: the next process that makes one removes its."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "nightshift-scratch-"
_YOUNG_SECONDS = 60.0
"""Between making a folder and locking it nothing shows that its process lives; it takes less than this."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give the block a folder of its own in the system's temporary folder (`TMPDIR`), removed afterwards.

    A retry after SIGKILL would otherwise leave hundreds of megabytes each time, models in the clear among them.
    """
    _sweep(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    # The lock goes with the process, however it ends.
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems have no locks: there nothing is ever swept
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        os.close(handle)
        # What lost a race may still be writing into it.
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _sweep(parent: str) -> None:
    """Remove what this user's dead processes left; once in a process's life."""
    before = time.time() - _YOUNG_SECONDS
    for folder in Path(parent).glob(f"{PREFIX}*"):
        with suppress(OSError):
            state = folder.lstat()
            if state.st_uid == os.getuid() and state.st_mtime < before:
                _remove_unless_locked(folder)


def _remove_unless_locked(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
