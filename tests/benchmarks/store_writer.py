"""Our side of `replicate`: put every file of a folder into the store of the environment, as a task does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from operators.core.settings import StorageSettings
from operators.core.storage import open_store


def main() -> None:
    """Put all, acknowledged by as many endpoints as the settings say."""
    store = open_store(StorageSettings.from_environment(os.environ))
    files = sorted(Path(sys.argv[1]).iterdir())
    store.put_files((path.name, path) for path in files)
    store.close()


if __name__ == "__main__":
    main()
