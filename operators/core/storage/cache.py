"""What was read lately, kept in a local folder that the processes of one machine share.

Objects lie there as they are stored, so encrypted ones stay encrypted, and each is hashed anew whenever it is read.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from operators.core.scratch import scratch_folder
from operators.core.settings import CacheSettings

_LOCK = ".lock"
_FILLING = ".filling-"
_ABANDONED_SECONDS = 24 * 3600.0
"""A folder of a process that died while it fetched is removed after that."""

Fetch = Callable[[Path], None]
"""Holds an object's verified bytes at a path; may leave other files beside it."""

log = logging.getLogger(__name__)


@contextmanager
def fetched(fetch: Fetch) -> Iterator[BinaryIO]:
    """Yield an object's bytes without a cache: they are gone after the block."""
    with scratch_folder() as folder:
        path = folder / "stored"
        fetch(path)
        with path.open("rb") as handle:
            yield handle


class Cache:
    """A folder of objects, bounded in size; those that were read least lately go first."""

    def __init__(self, settings: CacheSettings) -> None:
        self._folder, self._most = Path(settings.folder), settings.bytes

    @contextmanager
    def open(self, digest: str, fetch: Fetch) -> Iterator[BinaryIO]:
        """Yield an object's verified bytes, fetched where the folder lacks them.

        Args:
            digest: SHA-256 of the object as it is stored.
            fetch: Fetches it from an endpoint.
        """
        # An open file outlives its name: what another process removes meanwhile can still be read.
        with self._find(digest) or self._fill(digest, fetch) as handle:
            yield handle

    def _find(self, digest: str) -> BinaryIO | None:
        path = self._folder / digest
        try:
            handle = path.open("rb")
        except FileNotFoundError:
            return None
        try:
            if hashlib.file_digest(handle, "sha256").hexdigest() == digest:
                os.utime(handle.fileno())
                handle.seek(0)
                return handle
            problem = "it does not hold what its name says"
        except OSError as error:
            problem = str(error)
        handle.close()
        log.error("%s: %s; fetched anew, look after the disk", path, problem)
        path.unlink(missing_ok=True)
        return None

    def _fill(self, digest: str, fetch: Fetch) -> BinaryIO:
        # Here, not when this was made: whoever needs room may remove the folder at any time.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=_FILLING, ignore_cleanup_errors=True) as folder:
            path = Path(folder) / digest
            fetch(path)
            handle = path.open("rb")
            os.replace(path, self._folder / digest)
        self._shrink()
        return handle

    def _shrink(self) -> None:
        """Remove what was read least lately until the rest is small enough."""
        with (self._folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = []
            for entry in os.scandir(self._folder):
                if entry.name == _LOCK:
                    continue
                try:
                    state = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if not entry.name.startswith(_FILLING):
                    kept.append((state.st_mtime, state.st_size, entry.path))
                elif time.time() - state.st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(entry.path, ignore_errors=True)
            total = sum(size for _, size, _ in kept)
            for _, size, path in sorted(kept):
                if total <= self._most:
                    break
                Path(path).unlink(missing_ok=True)
                total -= size
