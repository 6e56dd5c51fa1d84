"""Folders as an endpoint needs them: made so that a power cut leaves them there, and walked in the order of keys."""

from __future__ import annotations

import os
import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from operators.core.storage.endpoint import EndpointAway

_NAME = re.compile(r"[a-z0-9._-]+")
_DURABLE_FOLDERS = 20_000
_BIG_FOLDER_BYTES = 32 * 1024
_BIG_FOLDERS = 4
_FINE_TICK_NS, _COARSE_TICK_NS = 100_000_000, 2_000_000_000


def sync_folder(folder: Path) -> None:
    """Have a folder's entries on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DurableFolders:
    """Makes folders below a root and remembers those whose way from the root was flushed."""

    def __init__(self, root: Path, sync: Callable[[Path], None]) -> None:
        self._root, self._sync = root, sync
        self._durable: set[Path] = set()

    def make(self, folder: Path) -> None:
        """Have a folder and its way from the root on disk.

        One that another process made is flushed too, once: it may have died before it did so. Flushing a file's own
        folder alone would leave a new file in a folder that a power cut takes away.
        """
        if folder == self._root or (folder in self._durable and folder.is_dir()):
            return
        self.make(folder.parent)
        folder.mkdir(exist_ok=True)
        self._sync(folder.parent)
        if len(self._durable) >= _DURABLE_FOLDERS:
            self._durable.clear()
        self._durable.add(folder)


class SortedNames:
    """The names in folders, in the order of keys; those of big folders are remembered while they do not change.

    The newest entry of a stream is looked for in some thirty steps, and each would read all its names again: 0.1 s
    to 0.4 s with 100,000 of them.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[Path, tuple[tuple[int, int], list[str]]] = OrderedDict()

    def of(self, folder: Path) -> list[str]:
        """Return the names, a folder's with a `/` behind it: `a-b` comes before `a/`, as it does in keys."""
        state = folder.stat()
        version = (state.st_ino, state.st_mtime_ns)
        known = self._known.get(folder)
        if known is not None and known[0] == version:
            return known[1]
        steady = state.st_size >= _BIG_FOLDER_BYTES and self._is_steady(state.st_mtime_ns)
        with os.scandir(folder) as entries:
            # What has other letters is no part of a key: the incoming folder, `lost+found`.
            ours = (entry for entry in entries if _NAME.fullmatch(entry.name))
            names = sorted(f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name for entry in ours)
        if steady:
            with self._lock:
                self._known[folder] = (version, names)
                while len(self._known) > _BIG_FOLDERS:
                    self._known.popitem(last=False)
        return names

    def _is_steady(self, modified_ns: int) -> bool:
        """Return whether a change from now on must show in the folder's time: two in one tick would look like one."""
        tick = _FINE_TICK_NS if modified_ns % 1_000_000_000 else _COARSE_TICK_NS
        try:
            return self._clock() * 1e9 - modified_ns > tick
        except EndpointAway:
            return False


def walk(names: SortedNames, folder: Path, prefix: str, after: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the keys of the files below a folder with their state, in the order of keys, from the first after `after`.

    Args:
        names: Where the names come from.
        folder: Where to look; one that is not there has no keys.
        prefix: The key of the folder itself, with a `/` behind it, or empty.
        after: Folders that end before it are never opened.
    """
    if prefix < after and not after.startswith(prefix):
        return
    try:
        found = names.of(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    start = 0
    if after.startswith(prefix):
        # The folder that `after` lies in comes before it in the order and may still hold later keys.
        rest = after.removeprefix(prefix)
        inner = f"{rest.partition('/')[0]}/" if "/" in rest else ""
        start = bisect_right(found, rest)
        start -= bool(inner) and start > 0 and found[start - 1] == inner
    for name in found[start:]:
        if name.endswith("/"):
            yield from walk(names, folder / name, prefix + name, after)
            continue
        try:
            yield prefix + name, os.stat(folder / name, follow_symlinks=False)
        except FileNotFoundError:
            continue
