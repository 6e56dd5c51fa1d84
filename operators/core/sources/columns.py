"""Values of a file as typed columns: what is not of its column's type is missing, and the row says which it was."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from operators.core.sources.job import ParseJob
from operators.core.sources.nfkc import nfkc
from operators.core.sources.spec import WRONG_TYPE, Column, ColumnType

BATCH_ROWS = 4096
BATCH_BYTES = 4 * 1024**2
ARROW_TYPES = {
    ColumnType.TEXT: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.NUMBER: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
}
_PLAIN: dict[ColumnType, set[type]] = {
    ColumnType.TEXT: {str, type(None)},
    ColumnType.INTEGER: {int, type(None)},
    ColumnType.NUMBER: {int, float, type(None)},
    ColumnType.BOOLEAN: {bool, type(None)},
    ColumnType.TIMESTAMP: {type(None)},
}
"""Python's types that a column takes as they are."""
SOUND = pa.scalar(-1, pa.int32())
"""What a row's mark is that has no value of another type than its column's."""
INTEGERS = range(-(2**63), 2**63)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,300}(\.[0-9]{0,300})?|\.[0-9]{1,300})([eE][+-]?[0-9]{1,4})?")


class NotOfType(Exception):
    """A value is not of its column's type."""


def schema_of(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the schema of a batch: the columns, then the number of the first of the wrong type, -1 for none."""
    fields = [pa.field(column.name, ARROW_TYPES[column.type]) for column in columns]
    return pa.schema([*fields, pa.field(WRONG_TYPE, pa.int32(), nullable=False)])


Converters = Mapping[ColumnType, Callable[[Any], Any]]
"""What makes a value of each type, or raises `NotOfType`: `NATIVE` of JSON's values, `WRITTEN` of texts."""


def constant(text: str, kind: ColumnType, rows: int) -> tuple[pa.Array, bool]:
    """Return a column that has one value, which a folder's name says, and whether it says one of the type."""
    try:
        value, is_one = WRITTEN[kind](text), True
    except NotOfType:
        value, is_one = None, False
    return pa.repeat(pa.scalar(value, ARROW_TYPES[kind]), rows), is_one


def normal_identifiers(array: pa.Array) -> pa.Array:
    """Return ids in one form, so that two that look alike are equal."""
    if not pa.types.is_string(array.type) or pc.all(pc.string_is_ascii(array), min_count=0).as_py():
        return array
    return pa.array([v if v is None else nfkc(v) for v in array.to_pylist()], array.type)


class Batches:
    """Collects rows, and makes record batches of a few megabytes of them."""

    def __init__(self, job: ParseJob, convert: Converters) -> None:
        self._job = job
        self._schema = schema_of(job.columns)
        self._convert = convert
        self._read = [column for column in job.columns if column.name not in job.constants]
        self.missing = {column.name for column in self._read}
        """Columns that no row has had yet."""
        self._start()

    def _start(self) -> None:
        self._values: dict[str, list[Any]] = {column.name: [] for column in self._read}
        self._rows = self._size = 0

    def add(self, row: Mapping[str, Any], size: int) -> bool:
        """Take a row of about that many bytes; return whether it is time to `take` a batch."""
        if self.missing:
            self.missing.difference_update(row)
        for name, values in self._values.items():
            values.append(row.get(name))
        self._rows += 1
        self._size += size
        return self._rows >= BATCH_ROWS or self._size >= BATCH_BYTES

    def take(self) -> pa.RecordBatch:
        """Return the rows that no batch holds yet."""
        values, rows = self._values, self._rows
        self._start()
        return self._batch(rows, lambda column: array_of(values[column.name], column.type, self._convert[column.type]))

    def of(self, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
        """Return columns as a batch, each by its name and of its type, but a moment as it is written."""

        def typed(column: Column) -> tuple[pa.Array, Sequence[int]]:
            array = columns[column.name]
            if column.type is not ColumnType.TIMESTAMP:
                return array, ()
            return array_of(array.to_pylist(), column.type, self._convert[column.type])

        return self._batch(len(next(iter(columns.values()))), typed)

    def _batch(self, rows: int, typed: Callable[[Column], tuple[pa.Array, Sequence[int]]]) -> pa.RecordBatch:
        wrong: dict[int, int] = {}
        arrays = []
        for number, column in enumerate(self._job.columns):
            is_told = column.name in self._job.constants
            array, bad = self._constant(column, rows) if is_told else typed(column)
            arrays.append(normal_identifiers(array) if column.name == self._job.id_column else array)
            for row in bad:
                wrong.setdefault(row, number)
        marks = pa.array([wrong.get(row, -1) for row in range(rows)], pa.int32()) if wrong else pa.repeat(SOUND, rows)
        return pa.RecordBatch.from_arrays([*arrays, marks], schema=self._schema)

    def rest(self) -> Iterator[pa.RecordBatch]:
        """Yield the last batch, if there is one."""
        if self._rows:
            yield self.take()

    def _constant(self, column: Column, rows: int) -> tuple[pa.Array, Sequence[int]]:
        array, is_one = constant(self._job.constants[column.name], column.type, rows)
        return array, () if is_one else range(rows)


def array_of(values: list[Any], kind: ColumnType, convert: Callable[[Any], Any]) -> tuple[pa.Array, list[int]]:
    """Return values as a column, and which of them were of another type."""
    # All at once where they are what they should be, which is nearly always; else each by itself.
    if set(map(type, values)) <= _PLAIN[kind]:
        try:
            array = pa.array(values, ARROW_TYPES[kind])
            if kind is not ColumnType.NUMBER or pc.all(pc.is_finite(array), min_count=0).as_py():
                return array, []
        except (ValueError, OverflowError):  # half a surrogate pair, or more than 64 bits hold
            pass
    converted: list[Any] = []
    bad: list[int] = []
    for number, value in enumerate(values):
        try:
            converted.append(None if value is None else convert(value))
        except NotOfType:
            converted.append(None)
            bad.append(number)
    return pa.array(converted, ARROW_TYPES[kind]), bad


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise NotOfType
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell: no text
            raise NotOfType from None
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in INTEGERS:
        raise NotOfType
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotOfType
    try:
        number = float(value)
    except OverflowError:
        raise NotOfType from None
    if not math.isfinite(number):
        raise NotOfType
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise NotOfType
    return value


def _timestamp(value: Any) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(_text(value).strip())
        return moment.replace(tzinfo=moment.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise NotOfType from None


def _written_integer(text: str) -> int:
    if not _INTEGER.fullmatch(text.strip()):
        raise NotOfType
    return _integer(int(text))


def _written_number(text: str) -> float:
    if not _NUMBER.fullmatch(text.strip()):
        raise NotOfType
    return _number(float(text))


def _written_boolean(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.strip().lower()]
    except KeyError:
        raise NotOfType from None


def _or_missing(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda text: convert(text) if text else None


NATIVE: Converters = {
    ColumnType.TEXT: _text,
    ColumnType.INTEGER: _integer,
    ColumnType.NUMBER: _number,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.TIMESTAMP: _timestamp,
}
WRITTEN: Converters = {
    ColumnType.TEXT: _text,
    ColumnType.INTEGER: _or_missing(_written_integer),
    ColumnType.NUMBER: _or_missing(_written_number),
    ColumnType.BOOLEAN: _or_missing(_written_boolean),
    ColumnType.TIMESTAMP: _or_missing(_timestamp),
}
