"""Rows cut into row groups, and a Parquet file of them: both follow from the rows, not from how they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


class RowGroups:
    """Collects rows, and makes row groups of them."""

    def __init__(self, schema: pa.Schema, most_bytes: int = ROW_GROUP_BYTES) -> None:
        self._schema, self._most_bytes = schema, most_bytes
        self._pending: list[pa.RecordBatch] = []
        self._rows, self._bytes = 0, 0

    def add(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        """Take rows; yield the row groups that they complete, the rest waits."""
        sizes = row_bytes(batch)
        start = 0
        while start < batch.num_rows:
            reached = self._bytes + np.cumsum(sizes[start : start + ROW_GROUP_ROWS - self._rows])
            count = min(len(reached), int(np.searchsorted(reached, self._most_bytes)) + 1)
            self._pending.append(batch.slice(start, count))
            self._rows += count
            self._bytes = int(reached[count - 1])
            start += count
            if self._rows == ROW_GROUP_ROWS or self._bytes >= self._most_bytes:
                yield from self.rest()

    def rest(self) -> Iterator[pa.Table]:
        """Yield what waits, if anything does."""
        if self._pending:
            group = pa.Table.from_batches(self._pending, self._schema).combine_chunks()
            self._pending, self._rows, self._bytes = [], 0, 0
            yield group


class GroupFile:
    """A Parquet file that is being written, a row group at a time; the columns named are dictionary-encoded."""

    def __init__(self, path: Path, schema: pa.Schema, repeating: Sequence[str]) -> None:
        self.path, self.rows = path, 0
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(self._sink, schema, use_dictionary=list(repeating), **OPTIONS)

    def write(self, group: pa.Table) -> int:
        """Add a row group; return the file's size so far."""
        self._writer.write_table(group, row_group_size=group.num_rows)
        self.rows += group.num_rows
        return int(self._sink.tell())

    def close(self) -> None:
        """Write the footer."""
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


def repeating(first: pa.Table) -> list[str]:
    """Return the columns of a file's first row group in which values come twice on average, or oftener."""
    plain = [field.name for field in first.schema if not pa.types.is_list(field.type)]
    return [name for name in plain if 2 * pc.count_distinct(first[name]).as_py() <= first.num_rows]
