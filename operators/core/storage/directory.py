"""An endpoint in a directory: created by link, so that a key appears once, whole and on disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from operators.core.storage.endpoint import EndpointAway, Listed, check_key

_INCOMING = "incoming"


class DirectoryEndpoint:
    """Keys are paths below a folder. The folder must exist: a missing mount must not look like an empty endpoint."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create the key by hard link: atomic, and it fails where the name is taken."""
        try:
            target, temporary = self._write(key, data)
        except EndpointAway:
            return False
        try:
            os.link(temporary, target)
            _sync_folder(target.parent)
        except OSError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def put(self, key: str, data: bytes | Path) -> None:
        """Write beside, flush, rename over."""
        target, temporary = self._write(key, data)
        try:
            os.replace(temporary, target)
            _sync_folder(target.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise EndpointAway(f"endpoint {self.name}: cannot write {key}: {error}") from error

    def get(self, key: str) -> bytes | None:
        """Return the bytes, None where the key is absent and the folder is there."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            self._check_folder()
            return None
        except OSError as error:
            raise EndpointAway(f"endpoint {self.name}: cannot read {key}: {error}") from error

    def size(self, key: str) -> int | None:
        """Return the size in bytes, None where the key is absent and the folder is there."""
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            self._check_folder()
            return None
        except OSError as error:
            raise EndpointAway(f"endpoint {self.name}: cannot read {key}: {error}") from error

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Listed]:
        """Return the keys below the prefix, in the order of their names."""
        self._check_folder()
        top = self.folder / prefix.rstrip("/")
        found = []
        try:
            for path in top.rglob("*"):
                key = path.relative_to(self.folder).as_posix()
                if key > after and not key.startswith(f"{_INCOMING}/") and path.is_file():
                    state = path.stat()
                    found.append(Listed(key, state.st_size, state.st_mtime))
        except OSError as error:
            raise EndpointAway(f"endpoint {self.name}: cannot list {prefix}: {error}") from error
        return sorted(found)[:limit]

    def delete(self, key: str) -> None:
        """Unlink the file and flush its folder."""
        path = self._path(key)
        self._check_folder()
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                _sync_folder(path.parent)
        except OSError as error:
            raise EndpointAway(f"endpoint {self.name}: cannot delete {key}: {error}") from error

    def clock(self) -> float:
        """Return the file system's time: that of a file made now."""
        try:
            with tempfile.TemporaryFile(dir=self.folder) as handle:
                return os.fstat(handle.fileno()).st_mtime
        except OSError as error:
            raise EndpointAway(f"endpoint {self.name}: cannot tell its time: {error}") from error

    def _path(self, key: str) -> Path:
        return self.folder / check_key(key)

    def _check_folder(self) -> None:
        if not self.folder.is_dir():
            raise EndpointAway(f"endpoint {self.name}: folder {self.folder} is not there")

    def _write(self, key: str, data: bytes | Path) -> tuple[Path, Path]:
        """Return the target and a flushed temporary file beside the keys, on the same file system."""
        self._check_folder()
        target = self._path(key)
        temporary: Path | None = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            incoming = self.folder / _INCOMING
            incoming.mkdir(exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=incoming)
            temporary = Path(name)
            with os.fdopen(descriptor, "wb") as handle:
                if isinstance(data, Path):
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, handle, 1 << 20)
                else:
                    handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise EndpointAway(f"endpoint {self.name}: cannot write {key}: {error}") from error
        return target, temporary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
