"""Shards: rows as Parquet files of a target size, whose bytes follow from the rows and their order alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operators.core.ingestion.parquet import OPTIONS

ROW_GROUP_BYTES = 16 * 1024**2
"""Of values before encoding; a row group ends with the row that reaches it."""
ROW_GROUP_ROWS = 65_536

Seal = Callable[[str, Path, int], None]
"""Given a shard's name, its file, which is the callee's from now on, and its number of rows."""


class ShardWriter:
    """One split's shards, `<split>/00000.parquet` and so on, written as rows come.

    Where rows are cut into row groups and shards depends on the rows, not on the batches that bring them.
    """

    def __init__(self, split: str, schema: pa.Schema, folder: Path, target_bytes: int, seal: Seal) -> None:
        self._split, self._schema, self._folder = split, schema, folder
        self._target_bytes, self._seal = target_bytes, seal
        self._group_bytes = min(ROW_GROUP_BYTES, target_bytes)
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows, self._pending_bytes = 0, 0
        self._shard: _Shard | None = None
        self._sealed = 0
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; complete row groups go to the file, the rest waits."""
        self.rows += batch.num_rows
        sizes = row_bytes(batch)
        start = 0
        while start < batch.num_rows:
            reached = self._pending_bytes + np.cumsum(sizes[start : start + ROW_GROUP_ROWS - self._pending_rows])
            count = min(len(reached), int(np.searchsorted(reached, self._group_bytes)) + 1)
            self._pending.append(batch.slice(start, count))
            self._pending_rows += count
            self._pending_bytes = int(reached[count - 1])
            start += count
            if self._pending_rows == ROW_GROUP_ROWS or self._pending_bytes >= self._group_bytes:
                self._end_group()

    def close(self) -> None:
        """Write what waits and seal the last shard."""
        if self._pending:
            self._end_group()
        self._end_shard()

    def _end_group(self) -> None:
        group = pa.Table.from_batches(self._pending, self._schema).combine_chunks()
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        if self._shard is None:
            self._shard = _Shard(self._folder / f"{self._split}-{self._sealed:05d}", self._schema, group)
        if self._shard.write(group) >= self._target_bytes:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._shard is None:
            return
        shard, self._shard = self._shard, None
        shard.close()
        self._seal(f"{self._split}/{self._sealed:05d}.parquet", shard.path, shard.rows)
        self._sealed += 1


class _Shard:
    """A Parquet file that is being written."""

    def __init__(self, path: Path, schema: pa.Schema, first: pa.Table) -> None:
        self.path, self.rows = path, 0
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(self._sink, schema, use_dictionary=_repeating(first), **OPTIONS)

    def write(self, group: pa.Table) -> int:
        """Add a row group; return the file's size so far."""
        self._writer.write_table(group, row_group_size=group.num_rows)
        self.rows += group.num_rows
        return int(self._sink.tell())

    def close(self) -> None:
        self._writer.close()
        self._sink.close()


def row_bytes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Return the size of each row's values before encoding, in bytes, shape (rows,)."""
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    for column in batch.columns:
        if pa.types.is_primitive(column.type):
            sizes += max(1, column.type.bit_width // 8)
        elif pa.types.is_list(column.type):
            sizes += pc.list_value_length(column).to_numpy() * (column.type.value_type.bit_width // 8)
        else:
            sizes += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    return sizes


def _repeating(first: pa.Table) -> list[str]:
    """Return the columns of a shard's first row group in which values come twice on average, or oftener."""
    plain = [field.name for field in first.schema if not pa.types.is_list(field.type)]
    return [name for name in plain if 2 * pc.count_distinct(first[name]).as_py() <= first.num_rows]
