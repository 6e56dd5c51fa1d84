"""An endpoint in a directory: created by link, so that a key appears once, whole and on disk."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NoReturn, TypeVar

from operators.core.storage.endpoint import EndpointAway, Listed, check_key
from operators.core.storage.folders import DurableFolders, SortedNames, sync_folder, walk

_INCOMING = "+incoming"
"""Outside the alphabet of keys: no key lies there and no listing shows it."""
_DEAD_SECONDS = 3600
_HINTS = {
    errno.ENOSPC: "; make room there",
    errno.EDQUOT: "; make room there",
    errno.EROFS: "; mount it for writing",
    errno.EIO: "; look at the disk",
}
_PIECE_BYTES = 256 * 1024
"""Of a file that is read or copied: what a core's own cache holds. Four times as much took up to five times as long."""
Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


class DirectoryEndpoint:
    """Keys are paths below a folder. The folder must exist: a missing mount must not look like an empty endpoint."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._folders = DurableFolders(folder, self._sync)
        self._names = SortedNames(self.clock)
        self._broken: OSError | None = None
        self._is_swept = False

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create the key by hard link: atomic, and it fails where the name is taken.

        Raises:
            ValueError: No bytes: a key that decides something must not look like a file that was cut short.
        """
        if not data:
            raise ValueError(f"{key}: an empty value decides nothing")
        try:
            with self._incoming(key, data) as (temporary, target):
                os.link(temporary, target)
                self._sync(target.parent)
        except FileExistsError:
            return False
        except (EndpointAway, OSError) as error:
            log.warning("endpoint %s: whether %s was created is not known: %s", self.name, key, error)
            return False
        return True

    def put(self, key: str, data: bytes | Path) -> None:
        """Write beside, flush, rename over."""
        try:
            with self._incoming(key, data) as (temporary, target):
                os.replace(temporary, target)
                self._sync(target.parent)
        except OSError as error:
            self._refuse(f"cannot write {key}", error)

    def get(self, key: str) -> bytes | None:
        """Return the bytes, None where the key is absent and the folder is there."""
        return self._look(key, Path.read_bytes)

    def size(self, key: str) -> int | None:
        """Return the size in bytes, None where the key is absent and the folder is there."""
        return self._look(key, lambda path: path.stat().st_size)

    def digest(self, key: str) -> str | None:
        """Return the SHA-256 of what lies under the key, None where it is absent; memory is bounded."""
        return self._look(key, _digest)

    def fetch(self, key: str, target: BinaryIO) -> str | None:
        """Write a key's bytes there and return their SHA-256, None where it is absent; memory is bounded."""
        return self._look(key, lambda source: _digest(source, target))

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Listed]:
        """Return the keys below the prefix, in the order of their names; folders before `after` are never opened."""
        self._check_folder()
        try:
            keys = walk(self._names, self.folder / prefix, prefix, after)
            return [Listed(key, state.st_size, state.st_mtime) for key, state in islice(keys, limit)]
        except OSError as error:
            self._refuse(f"cannot list {prefix}", error)

    def delete(self, key: str) -> None:
        """Unlink the file and flush its folder."""
        path = self._path(key)
        self._check_folder()
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                self._sync(path.parent)
        except OSError as error:
            self._refuse(f"cannot delete {key}", error)

    def clock(self) -> float:
        """Return the file system's time: that of a file made now."""
        try:
            with tempfile.TemporaryFile(dir=self.folder) as handle:
                return os.fstat(handle.fileno()).st_mtime
        except OSError as error:
            self._refuse("cannot tell its time", error)

    def _path(self, key: str) -> Path:
        return self.folder / check_key(key)

    def _look(self, key: str, read: Callable[[Path], Answer]) -> Answer | None:
        """Return what `read` makes of a key's file, None where there is none and the folder is there."""
        self._check_folder()
        try:
            return read(self._path(key))
        except (FileNotFoundError, NotADirectoryError):
            self._check_folder()
            return None
        except OSError as error:
            self._refuse(f"cannot read {key}", error)

    def _check_folder(self) -> None:
        if self._broken is not None:
            self._refuse("could not flush a folder before and counts for nothing in this process", self._broken)
        if not self.folder.is_dir():
            raise EndpointAway(f"endpoint {self.name}: folder {self.folder} is not there")

    def _sync(self, folder: Path) -> None:
        """Flush a folder. After one failure nothing here is believed any more.

        A later flush would succeed and mean nothing: the kernel has dropped what it could not write.
        """
        try:
            sync_folder(folder)
        except OSError as error:
            self._broken = error
            raise

    @contextmanager
    def _incoming(self, key: str, data: bytes | Path) -> Iterator[tuple[Path, Path]]:
        """Give the block a flushed file beside the keys and the key's path; nothing of it is left afterwards."""
        target = self._path(key)
        self._check_folder()
        incoming = self.folder / _INCOMING
        incoming.mkdir(exist_ok=True)
        self._sweep(incoming)
        self._folders.make(target.parent)
        descriptor, name = tempfile.mkstemp(dir=incoming)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as handle:
                with suppress(OSError):  # some file systems have no locks
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _write(handle, data)
                os.fsync(descriptor)
            yield temporary, target
        finally:
            temporary.unlink(missing_ok=True)

    def _sweep(self, incoming: Path) -> None:
        """Remove what processes that died left half-written; once in this one's life.

        A living writer holds a lock on its file while it writes; the age covers the moment after.
        """
        if self._is_swept:
            return
        self._is_swept = True
        before = self.clock() - _DEAD_SECONDS
        for path in incoming.iterdir():
            with suppress(OSError), path.open("rb") as handle:
                if os.fstat(handle.fileno()).st_mtime < before:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()

    def _refuse(self, what: str, error: OSError) -> NoReturn:
        hint = _HINTS.get(error.errno or 0, "")
        raise EndpointAway(f"endpoint {self.name} in {self.folder} {what}: {error.strerror or error}{hint}") from error


def _write(handle: BinaryIO, data: bytes | Path) -> None:
    if isinstance(data, Path):
        with data.open("rb", buffering=0) as source:
            before = os.fstat(source.fileno())
            for piece in _pieces(source):
                handle.write(piece)
            after = os.fstat(source.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ValueError(f"{data} was changed while it was stored: finish it first, then put it")
    else:
        handle.write(data)
    handle.flush()


def _digest(path: Path, copy: BinaryIO | None = None) -> str:
    """Return a file's SHA-256, its bytes written to `copy` on the way."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as source:
        for piece in _pieces(source):
            digest.update(piece)
            if copy is not None:
                copy.write(piece)
    return digest.hexdigest()


def _pieces(source: FileIO) -> Iterator[memoryview]:
    """Yield what an unbuffered file holds, piece by piece; each is gone once the next is asked for."""
    room = memoryview(bytearray(_PIECE_BYTES))
    while size := source.readinto(room):
        yield room[:size]
