"""The landing zone: files below a URL, listed and read within limits. Nothing is ever written there."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

from operators.core.errors import DataError, HostileInput, SourceChanged, SourceUnavailable
from operators.core.settings import LandingSettings
from operators.core.sources.exchange import Incoming

PIECE_BYTES = 16 * 1024**2
CONNECT_SECONDS = 10
SILENCE_SECONDS = 30
"""Between two packets of an answer."""
REQUEST_SECONDS = 120
"""For a listing, or for a piece of a file."""
TRIES = 4
_VERSION = ("size", "ETag", "VersionId", "LastModified", "mtime", "ino")
"""What a file system says of a file that differs after it was written again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A file or a folder of a landing zone."""

    name: str
    """The last part of its path."""
    is_folder: bool


class LandingZone:
    """What lies below a URL. Paths are relative to it, with `/` between their parts."""

    def __init__(self, settings: LandingSettings) -> None:
        parts = urlsplit(settings.url)
        self._is_local = parts.scheme == "file"
        self._limit = {} if self._is_local else {"timeout": REQUEST_SECONDS}
        self._files: Any = fsspec.filesystem(parts.scheme, skip_instance_cache=True, **_options(parts.scheme, settings))
        if not self._files.async_impl:
            self._limit = {}
        # In a bucket `%` is a character of a key like any other; in a file URL it escapes one.
        self._root = unquote(parts.path).rstrip("/") if self._is_local else f"{parts.netloc}{parts.path}".rstrip("/")

    def list(self, folder: str) -> list[Listed]:
        """Return what lies in a folder, by name; nothing where it does not exist.

        Raises:
            SourceUnavailable: The landing zone does not answer.
        """
        path = self._path(folder)
        with _translated(folder):
            try:
                found = self._files.ls(path, detail=True, **self._limit)
            except (FileNotFoundError, NotADirectoryError):
                return []
        names = {info["name"].rstrip("/").rsplit("/", 1)[-1]: info["type"] for info in found if self._is_in(info, path)}
        return [Listed(name=name, is_folder=kind == "directory") for name, kind in sorted(names.items())]

    def open(self, path: str, max_bytes: int, sha256: str) -> Incoming:
        """Return a file that was listed with this digest, to be read once.

        Its last piece is followed by `SourceChanged` where its content is another: nothing of it counts before.

        Raises:
            SourceChanged: It is gone.
            DataError: It is no regular file, or leads out of the landing zone.
            HostileInput: It is larger than the limit.
            SourceUnavailable: The landing zone does not answer.
        """
        info = self._info(path)
        return Incoming(_size_of(path, info, max_bytes), self._checked(path, info, max_bytes, sha256))

    def _checked(self, path: str, info: dict[str, Any], max_bytes: int, sha256: str) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for piece in self._pieces(path, info, max_bytes):
            digest.update(piece)
            yield piece
        if digest.hexdigest() != sha256:
            raise SourceChanged(
                f"{path}: its content is not what was listed; landing files must not change, run the day anew"
            )

    def digest(self, path: str, max_bytes: int) -> tuple[str, int]:
        """Return the SHA-256 and the size of a file, reading it in pieces.

        Raises:
            SourceChanged: It is gone, or was written again meanwhile.
            DataError: It is no regular file, or leads out of the landing zone.
            HostileInput: It is larger than the limit.
            SourceUnavailable: The landing zone does not answer.
        """
        before = self._info(path)
        digest, size = hashlib.sha256(), 0
        for piece in self._pieces(path, before, max_bytes):
            digest.update(piece)
            size += len(piece)
        after = self._info(path)
        if any(before.get(key) != after.get(key) for key in _VERSION):
            raise SourceChanged(f"{path}: written to while it was listed; land files whole, under their names at once")
        return digest.hexdigest(), size

    def _info(self, path: str) -> dict[str, Any]:
        full = self._path(path)
        with _translated(path):
            info: dict[str, Any] = self._files.info(full, **self._limit)
        if info["type"] != "file":
            raise DataError(f"{path}: no regular file; land copies, neither links to folders nor pipes")
        if self._is_local and not _is_below(full, self._root):
            raise DataError(f"{path}: a link that leads out of the landing zone; land a copy")
        return info

    def _pieces(self, path: str, info: dict[str, Any], max_bytes: int) -> Iterator[bytes]:
        size = _size_of(path, info, max_bytes)
        for start in range(0, size, PIECE_BYTES):
            end = min(start + PIECE_BYTES, size)
            with _translated(path):
                piece: bytes = self._files.cat_file(self._path(path), start=start, end=end, **self._limit)
            if len(piece) != end - start:
                raise SourceChanged(f"{path}: became shorter while it was read; land files whole")
            yield piece

    def _path(self, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/"):
            raise DataError(f"source path {path!r} leads out of the landing zone")
        return f"{self._root}/{path}"

    def _is_in(self, info: dict[str, Any], folder: str) -> bool:
        # Some servers list a folder in itself, and fsspec lists a file as its own only entry.
        return str(info["name"]).strip("/").rsplit("/", 1)[0] == folder.strip("/")


def _size_of(path: str, info: dict[str, Any], max_bytes: int) -> int:
    if (size := int(info["size"])) > max_bytes:
        raise HostileInput(f"{path}: larger than {max_bytes} bytes; split it into several files")
    return size


def _is_below(path: str, root: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), os.path.realpath(root)]) == os.path.realpath(root)


def _options(scheme: str, settings: LandingSettings) -> dict[str, Any]:
    if scheme != "s3":
        return dict(settings.options)
    client: dict[str, Any] = {"endpoint_url": settings.endpoint_url} if settings.endpoint_url else {}
    if settings.ca_file:
        client["verify"] = settings.ca_file
    return {
        "key": settings.access_key,
        "secret": settings.secret_key,
        "use_listings_cache": False,
        "client_kwargs": client,
        "config_kwargs": {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": SILENCE_SECONDS,
            "retries": {"max_attempts": TRIES, "mode": "standard"},
        },
        **settings.options,
    }


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    """Say what went wrong in our own words: a client's may hold the address that it asked, with what is in it."""
    try:
        yield
    except FileNotFoundError:
        raise SourceChanged(
            f"{path}: listed, but gone from the landing zone; put it back or run the day anew"
        ) from None
    except PermissionError:
        raise SourceUnavailable(f"{path}: the landing zone does not let this be read; look at its connection") from None
    except Exception as error:
        raise SourceUnavailable(f"{path}: the landing zone does not answer ({type(error).__name__})") from None
