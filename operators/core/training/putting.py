"""A rank's checkpoints go into the store by a process of their own, which gives way to the training beside it.

A thread of the rank must not give way: whenever it held the interpreter's lock, the training would wait for a thread
that everything else on the machine goes before.

python -m operators.core.training.putting FOLDER
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operators.core.errors import NightshiftError, StorageError
from operators.core.manifest import FileEntry
from operators.core.settings import STORAGE_VARIABLE, StorageSettings
from operators.core.training.processes import die_with_parent

if TYPE_CHECKING:
    from operators.core.storage import Store

NICENESS = 10
"""Of the process: by the kernel's weights it gets 110 parts of a core where a thread that trains gets 1024."""
CLOSE_SECONDS = 30.0


class Putter:
    """Has files put into the store by a process that lives as long as this one; asked by one thread at a time."""

    def __init__(self, settings: StorageSettings, folder: Path) -> None:
        """Start the process.

        Args:
            settings: The store's.
            folder: Names the training in a list of processes.
        """
        self._environment = os.environ | {STORAGE_VARIABLE: settings.to_json()}
        self._folder = folder
        self._process = self._start()

    def put(self, name: str, path: Path) -> FileEntry:
        """Hold a local file at W endpoints, verified, and return the entry that names it.

        Raises:
            StorageError: The store failed, or the process ended; another one is asked the next time.
        """
        if self._process.poll() is not None:
            self._reap()
            self._process = self._start()
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps({"name": name, "path": str(path)}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError as error:
            raise self._lost(name) from error
        if not line:
            raise self._lost(name)
        answer = json.loads(line)
        if "error" in answer:
            raise StorageError(answer["error"])
        return FileEntry(**answer["entry"])

    def close(self) -> None:
        """End the process, and with it its lease of the store."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", __name__, str(self._folder)]
        return subprocess.Popen(
            command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _lost(self, name: str) -> StorageError:
        self._reap()
        return StorageError(f"the process that was to put {name} ended with {self._process.returncode}")

    def _reap(self) -> None:
        """Have the process ended, and our ends of its pipes closed."""
        with suppress(BrokenPipeError), self._process:
            pass


def main() -> None:
    """Put what is asked for, until nobody can ask any more."""
    die_with_parent()
    os.nice(NICENESS)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    store: Store | None = None
    for line in sys.stdin:
        answer: dict[str, Any]
        try:
            store = store or _open()
            # A lease a checkpoint: the collector waits for the oldest, and would leave all of a training's otherwise.
            store.end_lease()
            asked = json.loads(line)
            answer = {"entry": asdict(store.put_file(asked["name"], Path(asked["path"])))}
        except (NightshiftError, OSError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)
    if store is not None:
        store.close()


def _open() -> Store:
    from operators.core.storage import open_store

    return open_store(StorageSettings.from_environment(os.environ))


if __name__ == "__main__":
    main()
