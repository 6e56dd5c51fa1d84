"""Shards: rows as Parquet files of a target size, whose bytes follow from the rows and their order alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from operators.core.ingestion.row_groups import ROW_GROUP_BYTES, GroupFile, RowGroups, repeating

Seal = Callable[[str, Path, int], None]
"""Given a shard's name, its file, which is the callee's from now on, and its number of rows."""


class ShardWriter:
    """One split's shards, `<split>/00000.parquet` and so on, written as rows come.

    Where rows are cut into row groups and shards depends on the rows, not on the batches that bring them.
    """

    def __init__(self, split: str, schema: pa.Schema, folder: Path, target_bytes: int, seal: Seal) -> None:
        self._split, self._schema, self._folder = split, schema, folder
        self._target_bytes, self._seal = target_bytes, seal
        self._groups = RowGroups(schema, min(ROW_GROUP_BYTES, target_bytes))
        self._shard: GroupFile | None = None
        self._sealed = 0
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; complete row groups go to the file, the rest waits."""
        self.rows += batch.num_rows
        for group in self._groups.add(batch):
            self._write_group(group)

    def close(self) -> None:
        """Write what waits and seal the last shard."""
        for group in self._groups.rest():
            self._write_group(group)
        self._end_shard()

    def _write_group(self, group: pa.Table) -> None:
        if self._shard is None:
            path = self._folder / f"{self._split}-{self._sealed:05d}"
            self._shard = GroupFile(path, self._schema, repeating(group))
        if self._shard.write(group) >= self._target_bytes:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._shard is None:
            return
        shard, self._shard = self._shard, None
        shard.close()
        self._seal(f"{self._split}/{self._sealed:05d}.parquet", shard.path, shard.rows)
        self._sealed += 1
