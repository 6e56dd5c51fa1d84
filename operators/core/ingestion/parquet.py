"""Parquet whose bytes follow from its rows alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operators.core.ingestion.spec import OutputColumn
from operators.core.sources.columns import ARROW_TYPES

ROW_GROUP_ROWS = 16_384
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("day", pa.date32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
    ]
)
"""The columns that every part and every data set's shard has; `text` is anonymised."""
OPTIONS: Mapping[str, Any] = {
    "version": "2.6",
    "data_page_version": "1.0",
    "data_page_size": 1024**2,
    "compression": "zstd",
    "compression_level": 3,
    "write_statistics": True,
    "store_schema": False,
}
"""Every option that shapes a file's bytes, so that a new default of the library changes nothing.

Its version stands in the footer: another release gives other bytes, which is why the lock pins it.
"""


def schema_with(further: Iterable[OutputColumn]) -> pa.Schema:
    """Return the schema of parts and data sets whose policy lets further columns through, in its order."""
    return pa.schema([*SCHEMA, *(pa.field(column.policy.column, ARROW_TYPES[column.type]) for column in further)])


def by_id(rows: pa.Table) -> pa.Table:
    """Return rows in the order in which a part has them: by id and day."""
    ids = rows["id"]
    if rows.num_rows < 2 or pc.all(pc.less(ids.slice(0, len(ids) - 1), ids.slice(1))).as_py():
        return rows
    return rows.take(pc.sort_indices(rows, sort_keys=[("id", "ascending"), ("day", "ascending")]))


def encode_table(rows: pa.Table) -> bytes:
    """Return rows as one Parquet file, whose bytes do not say in which pieces they came."""
    sink = pa.BufferOutputStream()
    repeating = ["label", *rows.schema.names[len(SCHEMA) :]]
    with pq.ParquetWriter(sink, rows.schema, use_dictionary=repeating, **OPTIONS) as writer:
        for start in range(0, max(1, rows.num_rows), ROW_GROUP_ROWS):
            writer.write_table(rows.slice(start, ROW_GROUP_ROWS).combine_chunks(), ROW_GROUP_ROWS)
    return bytes(sink.getvalue().to_pybytes())
