"""Values of a file as typed columns: what is not of its column's type is missing, and the row says which it was."""

from __future__ import annotations

import datetime
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from operators.core.sources.job import ParseJob
from operators.core.sources.spec import WRONG_TYPE, Column, ColumnType

BATCH_ROWS = 4096
BATCH_CHARACTERS = 4 * 1024**2
ARROW_TYPES = {
    ColumnType.TEXT: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.NUMBER: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
}
INTEGERS = range(-(2**63), 2**63)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,300}(\.[0-9]{0,300})?|\.[0-9]{1,300})([eE][+-]?[0-9]{1,4})?")


class NotOfType(Exception):
    """A value is not of its column's type."""


def schema_of(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the schema of a batch: the columns, then the number of the first of the wrong type, -1 for none."""
    fields = [pa.field(column.name, ARROW_TYPES[column.type]) for column in columns]
    return pa.schema([*fields, pa.field(WRONG_TYPE, pa.int32(), nullable=False)])


def native(value: Any, kind: ColumnType) -> Any:
    """Return a value of JSON as its column's type wants it, None where it is missing.

    Raises:
        NotOfType: It is of another type.
    """
    return None if value is None else _NATIVE[kind](value)


def written(text: str | None, kind: ColumnType) -> Any:
    """Return what a text says, None where it is empty and no text is wanted.

    Raises:
        NotOfType: It says nothing of that type.
    """
    if text is None or (not text and kind is not ColumnType.TEXT):
        return None
    return _WRITTEN[kind](text)


def normal_identifier(text: str) -> str:
    """Return an id in one form, so that two that look alike are equal."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


class Batches:
    """Collects rows into record batches of a few megabytes."""

    def __init__(self, job: ParseJob, convert: Callable[[Any, ColumnType], Any]) -> None:
        self._job = job
        self._schema = schema_of(job.columns)
        self._convert = convert
        self.missing = {column.name for column in job.columns if column.name not in job.constants}
        """Columns that no row has had yet."""
        self._start()

    def _start(self) -> None:
        self._values: list[list[Any]] = [[] for _ in self._job.columns]
        self._wrong: list[int] = []
        self._characters = 0

    def add(self, row: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
        """Take a row; yield a batch where one is full."""
        wrong = -1
        for number, column in enumerate(self._job.columns):
            try:
                value = self._value(row, column)
            except NotOfType:
                value, wrong = None, number if wrong < 0 else wrong
            self._values[number].append(value)
            if isinstance(value, str):
                self._characters += len(value)
        self._wrong.append(wrong)
        if len(self._wrong) >= BATCH_ROWS or self._characters >= BATCH_CHARACTERS:
            yield from self.rest()

    def rest(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows that no batch holds yet."""
        if self._wrong:
            arrays = [pa.array(v, f.type) for v, f in zip([*self._values, self._wrong], self._schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=self._schema)
            self._start()

    def _value(self, row: Mapping[str, Any], column: Column) -> Any:
        if column.name in self._job.constants:
            return written(self._job.constants[column.name], column.type)
        if column.name not in row:
            return None
        self.missing.discard(column.name)
        value = self._convert(row[column.name], column.type)
        if column.name == self._job.id_column and isinstance(value, str):
            return normal_identifier(value)
        return value


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


_NATIVE: dict[ColumnType, Callable[[Any], Any]] = {
    ColumnType.TEXT: _text,
    ColumnType.INTEGER: _integer,
    ColumnType.NUMBER: _number,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.TIMESTAMP: _timestamp,
}
_WRITTEN: dict[ColumnType, Callable[[str], Any]] = {
    ColumnType.TEXT: _text,
    ColumnType.INTEGER: _written_integer,
    ColumnType.NUMBER: _written_number,
    ColumnType.BOOLEAN: _written_boolean,
    ColumnType.TIMESTAMP: _timestamp,
}
