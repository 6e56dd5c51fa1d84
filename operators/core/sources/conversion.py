"""Columns of a Parquet file as the types of a spec, with a mark where a value cannot be."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from operators.core.errors import DataError, HostileInput
from operators.core.sources.columns import ARROW_TYPES
from operators.core.sources.spec import Column, ColumnType

_FIRST_SECOND, _END_SECOND = -62_135_596_800, 253_402_300_800
"""Years 1 to 9999, in seconds since 1970."""
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_SECONDS = 86_400


def check_type(column: Column, kind: pa.DataType) -> None:
    """Return if the values of a file's column can be of its column's type.

    Raises:
        DataError: They cannot, whatever they are.
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    fits = {
        ColumnType.TEXT: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind),
        ColumnType.INTEGER: pa.types.is_integer(kind),
        ColumnType.NUMBER: pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind),
        ColumnType.BOOLEAN: pa.types.is_boolean(kind),
        ColumnType.TIMESTAMP: pa.types.is_timestamp(kind) or pa.types.is_date(kind),
    }[column.type]
    if not fits and not pa.types.is_null(kind):
        raise DataError(
            f"column {column.name!r} is {_word(kind)} in the file and {column.type.value} in the recipe; change one"
        )


def _word(kind: pa.DataType) -> str:
    return "nested" if pa.types.is_nested(kind) else str(kind)[:40]


def typed(array: pa.Array, column: Column, max_text_bytes: int) -> tuple[pa.Array, pa.Array]:
    """Return a column of the spec's type, and where a value was of another.

    Raises:
        DataError: A text is not UTF-8.
        HostileInput: A text is larger than the limit.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), ARROW_TYPES[column.type]), pa.repeat(False, len(array))
    if column.type is ColumnType.TEXT:
        return _text(array, column, max_text_bytes), pa.repeat(False, len(array))
    if column.type is ColumnType.BOOLEAN:
        return array, pa.repeat(False, len(array))
    if column.type is ColumnType.INTEGER:
        return _kept(
            array, pc.less(array, pa.scalar(2**63, pa.uint64())) if pa.types.is_uint64(array.type) else None, pa.int64()
        )
    if column.type is ColumnType.NUMBER:
        return _number(array)
    return _timestamp(array)


def _text(array: pa.Array, column: Column, max_bytes: int) -> pa.Array:
    if (pc.max(pc.binary_length(array)).as_py() or 0) > max_bytes:
        raise HostileInput(f"column {column.name!r}: a text of more than {max_bytes} bytes")
    text = array.cast(pa.string())
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        raise DataError(f"column {column.name!r}: a text is not UTF-8; write the file again") from None
    return text


def _number(array: pa.Array) -> tuple[pa.Array, pa.Array]:
    numbers = array.cast(pa.float64(), safe=False)
    # Not a number is how pandas writes what is missing.
    there = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    return _kept(there, pc.is_finite(there), pa.float64())


def _timestamp(array: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return moments as microseconds in UTC, by arithmetic alone: a time zone would be looked up in a file."""
    if pa.types.is_date32(array.type):
        moments = pc.multiply(array.cast(pa.int32()).cast(pa.int64()), _DAY_SECONDS)
        ticks = 1
    else:
        ticks = _TICKS["ms"] if pa.types.is_date64(array.type) else _TICKS[array.type.unit]
        moments = array.cast(pa.int64())
    fits = pc.and_(
        pc.greater_equal(moments, _FIRST_SECOND * ticks if ticks < 10**9 else -(2**63)),
        pc.less(moments, _END_SECOND * ticks if ticks < 10**9 else 2**63 - 1),
    )
    there, bad = _kept(moments, fits, pa.int64())
    scaled = pc.divide(there, 1000) if ticks == 10**9 else pc.multiply(there, 10**6 // ticks)
    return scaled.cast(ARROW_TYPES[ColumnType.TIMESTAMP]), bad


def _kept(array: pa.Array, fits: pa.Array | None, kind: pa.DataType) -> tuple[pa.Array, pa.Array]:
    """Return the values that fit, as that type, and where one did not."""
    if fits is None:
        return array.cast(kind), pa.repeat(False, len(array))
    fits = pc.fill_null(fits, True)
    return pc.if_else(fits, array, pa.scalar(None, array.type)).cast(kind), pc.invert(fits)
