"""A part on its way to the local disk: rows by their ids, in whatever order they come, in bounded memory."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operators.core.ingestion.parquet import SCHEMA
from operators.core.ingestion.row_groups import GroupFile, RowGroups
from operators.core.ingestion.sorting import RunSorter


class PartWriter:
    """Writes one part; its bytes follow from the rows alone.

    Rows that come in order, which is what most files hold, are encoded as they come. The first that does not has what
    was written read again and sorted with the rest.

    Args:
        path: Where the part goes. Beside it lie the rows that wait, anonymised as those of the part are.
        schema: Of the rows.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._last = ""
        self._sorter: RunSorter | None = None
        self._begin()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        if self._sorter is None and not self._follows(batch.column("id")):
            self._sorter = self._sort()
        if self._sorter is None:
            self._append(batch)
        else:
            self._sorter.add(batch)

    def close(self) -> int:
        """Have the part lie there as a whole; return its rows."""
        if self._sorter is not None:
            self._begin()
            for batch in self._sorter.drain():
                self._append(batch)
        self._end()
        return self._file.rows

    def _begin(self) -> None:
        self._groups = RowGroups(self._schema)
        self._file = GroupFile(self._path, self._schema, ["label", *self._schema.names[len(SCHEMA) :]])

    def _append(self, batch: pa.RecordBatch) -> None:
        for group in self._groups.add(batch):
            self._file.write(group)

    def _end(self) -> None:
        for group in self._groups.rest():
            self._file.write(group)
        self._file.close()

    def _follows(self, ids: pa.Array) -> bool:
        """Return whether ids are in order, and none before those that came."""
        if not len(ids):
            return True
        first, self._last, last = ids[0].as_py(), ids[-1].as_py(), self._last
        return last <= first and bool(
            pc.all(pc.less_equal(ids.slice(0, len(ids) - 1), ids.slice(1)), min_count=0).as_py()
        )

    def _sort(self) -> RunSorter:
        """Return what sorts the rows, with those that were written before."""
        self._end()
        folder = self._path.with_name(f"{self._path.name}.runs")
        folder.mkdir()
        sorter = RunSorter(folder, self._schema)
        with pq.ParquetFile(self._path, pre_buffer=False) as written:
            for batch in written.iter_batches():
                sorter.add(pa.RecordBatch.from_arrays(batch.columns, schema=self._schema))
        return sorter
