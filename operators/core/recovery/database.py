"""An online copy of Airflow's SQLite database: consistent while it is written to, checked before it is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import zstandard

from operators.core.errors import DataError
from operators.core.scratch import scratch_folder
from operators.core.storage.objects import write_file

_LARGEST_DATABASE_BYTES = 8 * 1024**3


def copy_database(path: Path) -> bytes:
    """Return a consistent, compressed copy of a SQLite database that others are writing to.

    Raises:
        DataError: There is none, or the copy fails SQLite's own check.
    """
    with copied_database(path) as copy:
        return compressed(copy)


@contextmanager
def copied_database(path: Path) -> Iterator[Path]:
    """Give such a copy, not compressed, for the length of a block; errors are raised as above."""
    if not path.is_file():
        raise DataError(f"{path} is not there: the backup is to hold Airflow's database")
    with scratch_folder() as folder:
        copy = folder / "copy.db"
        reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
        with closing(reader) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        _check(copy)
        yield copy


def compressed(path: Path) -> bytes:
    """Return a file's bytes as a backup holds them."""
    return zstandard.ZstdCompressor(level=3).compress(path.read_bytes())


def restore_database(data: bytes, path: Path) -> None:
    """Put the database of a backup at a path where nothing is yet, whole or not at all.

    Raises:
        DataError: Another file is there: a database in use is never written over.
    """
    content = zstandard.ZstdDecompressor().decompress(data, max_output_size=_LARGEST_DATABASE_BYTES)
    if path.exists() and path.read_bytes() != content:
        raise DataError(f"{path} is there already: name a path where nothing is")
    write_file(path, content)
    _check(path)


def _check(path: Path) -> None:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
        except sqlite3.DatabaseError as error:
            verdict = str(error)
    if verdict != "ok":
        raise DataError(f"{path}: SQLite finds the copy damaged: {verdict}")
