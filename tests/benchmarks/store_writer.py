"""Our side of `replicate`: put every file of a folder into the store of the environment, as a task does."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from operators.core.settings import StorageSettings
from operators.core.storage import open_store

AT_ONCE = 4
"""Files on their way: as many as the rivals' writers have together."""


def main() -> None:
    """Put all, acknowledged by as many endpoints as the settings say."""
    store = open_store(StorageSettings.from_environment(os.environ))
    files = sorted(Path(sys.argv[1]).iterdir())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda path: store.put_file(path.name, path), files))
    store.close()


if __name__ == "__main__":
    main()
