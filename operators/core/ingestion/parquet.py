"""Parquet whose bytes follow from its rows alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from operators.core.ingestion.spec import OutputColumn
from operators.core.sources.columns import ARROW_TYPES

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
