"""The parts of a window as one table in a fixed order: by day, then by part, then as they lie in it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.errors import DataError
from operators.core.ingestion.ingest_file import PART_NAME
from operators.core.ingestion.schemas import conform, merge_schemas
from operators.core.manifest import Input
from operators.core.storage import Store

BATCH_BYTES = 8 * 1024**2
"""Of values, that are decoded at once."""
_MOST_ROWS = 16_384


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One landing file's rows, anonymised, as a local Parquet file."""

    day: datetime.date
    identity: str
    """Of its manifest: what orders the parts of one day, however they were grouped."""
    path: Path

    def footer(self) -> tuple[pa.Schema, int]:
        """Return the part's schema and its number of rows."""
        with pq.ParquetFile(self.path) as file:
            return file.schema_arrow, file.metadata.num_rows

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the part's rows, a bounded number of bytes at once; all columns, or those named."""
        # With its look-ahead the reader would hold the columns of the whole file.
        with pq.ParquetFile(self.path, pre_buffer=False) as file:
            footer = file.metadata
            size = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
            rows = BATCH_BYTES * footer.num_rows // max(1, size)
            yield from file.iter_batches(max(1, min(_MOST_ROWS, rows)), columns=columns)


@dataclass(frozen=True, slots=True)
class Window:
    """Parts in order. A row's place is its number in this order, from 0."""

    parts: tuple[Part, ...]
    rows: tuple[int, ...]
    """Of each part."""
    schema: pa.Schema
    """Of all parts, merged."""

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Window:
        """Put parts in order.

        Raises:
            DataError: Their columns do not fit together, or there are none.
        """
        if not parts:
            raise DataError("the window has no part: widen it")
        ordered = tuple(sorted(parts, key=lambda part: (part.day, part.identity)))
        footers = [part.footer() for part in ordered]
        days = (part.day for part in ordered)
        schema = merge_schemas((day, schema) for day, (schema, _) in zip(days, footers, strict=True))
        return cls(ordered, tuple(rows for _, rows in footers), schema)

    def batches(self, part: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a part with the columns of the window."""
        for batch in self.parts[part].batches():
            yield conform(batch, self.schema)

    def row_id(self, place: int) -> str:
        """Return the id of the row at a place."""
        part = 0
        while place >= self.rows[part]:
            place -= self.rows[part]
            part += 1
        for batch in self.parts[part].batches(["id"]):
            if place < batch.num_rows:
                return str(batch.column("id")[place].as_py())
            place -= batch.num_rows
        raise IndexError("the window has no such row")


def fetch_window(store: Store, inputs: Sequence[Input], folder: Path, pool: ThreadPoolExecutor) -> Window:
    """Return the window whose parts are the given results of `ingest_file`, fetched into a folder."""

    def fetch(item: Input) -> Part:
        assert item.manifest is not None, "parts lie in the store"
        manifest = store.manifest(item.manifest)
        path = folder / f"{item.identity}.parquet"
        store.fetch(manifest.file(PART_NAME), path)
        return Part(day=datetime.date.fromisoformat(manifest.spec["day"]), identity=item.identity, path=path)

    return Window.of(list(pool.map(fetch, inputs)))
