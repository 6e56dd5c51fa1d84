"""Rows in the order of their ids, however many come in whatever order: runs on the local disk, then merged."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

RUN_BYTES = 32 * 1024**2
"""Of rows that are sorted in memory at once."""
_HEAD_BYTES = 1024**2
"""Of a run, that are read at once."""
_PLACE = "+place"
"""The column that tells rows of one id apart: they stay as they came."""


class RunSorter:
    """Takes rows in any order and gives them back by id; memory is bounded by some runs' worth."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema.append(pa.field(_PLACE, pa.int64()))
        self._pending: list[pa.RecordBatch] = []
        self._bytes = self._rows = 0
        self._runs: list[Path] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows."""
        places = pa.array(np.arange(self._rows, self._rows + batch.num_rows))
        self._pending.append(pa.RecordBatch.from_arrays([*batch.columns, places], schema=self._schema))
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._bytes >= RUN_BYTES:
            self._end_run()

    def drain(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows by id, those of one id as they came; then none is left, nor any file."""
        last = iter(_sorted(self._pending, self._schema))
        self._pending, self._bytes = [], 0
        for batch in _merged([*map(_read, self._runs), last]):
            yield batch.drop_columns([_PLACE])

    def _end_run(self) -> None:
        path = self._folder / f"run-{len(self._runs):05d}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, self._schema) as file:
            for batch in _sorted(self._pending, self._schema):
                file.write_batch(batch)
        self._runs.append(path)
        self._pending, self._bytes = [], 0


def _sorted(batches: list[pa.RecordBatch], schema: pa.Schema) -> list[pa.RecordBatch]:
    """Return rows in order, in pieces of `_HEAD_BYTES`."""
    table = pa.Table.from_batches(batches, schema)
    table = table.sort_by([("id", "ascending"), (_PLACE, "ascending")]).combine_chunks()
    found: list[pa.RecordBatch] = table.to_batches(max(1, _HEAD_BYTES * table.num_rows // max(1, table.nbytes)))
    return found


def _read(path: Path) -> Iterator[pa.RecordBatch]:
    # Not mapped: pages of a mapped file count as this process's memory.
    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as file:
        for number in range(file.num_record_batches):
            yield file.get_batch(number)
    path.unlink()


def _merged(runs: list[Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    heads = {number: head for number, run in enumerate(runs) if (head := next(run, None)) is not None}
    while heads:
        # Up to the first head's end nothing can come any more that belongs before.
        bound = min(_key(head, head.num_rows - 1) for head in heads.values())
        taken = []
        for number, head in list(heads.items()):
            count = bisect.bisect_right(range(head.num_rows), bound, key=lambda row, head=head: _key(head, row))  # type: ignore[misc]
            taken.append(head.slice(0, count))
            left = head.slice(count) if count < head.num_rows else next(runs[number], None)
            if left is None:
                del heads[number]
            else:
                heads[number] = left
        yield from taken if len(heads) == len(runs) == 1 else _sorted(taken, taken[0].schema)


def _key(batch: pa.RecordBatch, row: int) -> tuple[Any, int]:
    return batch.column("id")[row].as_py(), batch.column(_PLACE)[row].as_py()
