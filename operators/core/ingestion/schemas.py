"""How the columns of a source may change from one day to another: added, or widened; anything else is refused."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa

from operators.core.errors import DataError

_WIDTHS: tuple[tuple[pa.DataType, ...], ...] = (
    (pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    (pa.float16(), pa.float32(), pa.float64()),
    (pa.string(), pa.large_string()),
    (pa.binary(), pa.large_binary()),
    (pa.timestamp("s", "UTC"), pa.timestamp("ms", "UTC"), pa.timestamp("us", "UTC")),
)
"""Types that hold every value of the types before them."""


class _Seen(NamedTuple):
    field: pa.Field
    day: datetime.date


def merge_schemas(schemas: Iterable[tuple[datetime.date, pa.Schema]]) -> pa.Schema:
    """Return the schema that holds the rows of all parts, the columns in the order in which they came.

    A column that some parts lack may be null; one whose type was widened has the widest.

    Args:
        schemas: Of each part, with its day.

    Raises:
        DataError: A column has two types of which none holds the other's values.
    """
    seen: dict[str, _Seen] = {}
    parts = 0
    for parts, (day, schema) in enumerate(schemas, start=1):
        for field in schema:
            new = _Seen(field.remove_metadata(), day)
            known = seen.get(field.name)
            if known is None:
                # A part before this one has no such column.
                seen[field.name] = new if parts == 1 else _Seen(new.field.with_nullable(True), day)
            else:
                seen[field.name] = _wider(known, new)
        for name in seen.keys() - set(schema.names):
            seen[name] = seen[name]._replace(field=seen[name].field.with_nullable(True))
    return pa.schema([one.field for one in seen.values()])


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a part's rows with the columns of a schema that `merge_schemas` made of its own."""
    if batch.schema.equals(schema):
        return batch
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _wider(one: _Seen, two: _Seen) -> _Seen:
    wide = _wider_type(one.field.type, two.field.type)
    if wide is None:
        raise DataError(
            f"column {one.field.name}: {one.field.type} on {one.day}, {two.field.type} on {two.day}; a column may be "
            "added or its type widened, nothing else: give the changed column another name"
        )
    chosen = one if wide == one.field.type else two
    return chosen._replace(field=chosen.field.with_nullable(one.field.nullable or two.field.nullable))


def _wider_type(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if one == two:
        return one
    for widths in _WIDTHS:
        if one in widths and two in widths:
            return max(one, two, key=widths.index)
    return None
