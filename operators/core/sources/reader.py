"""Rows of untrusted files, parsed in a process of their own."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from operators.core.errors import HostileInput
from operators.core.sources import parser
from operators.core.sources.contents import normalise
from operators.core.sources.job import ParseJob
from operators.core.sources.spec import ROW_SHA256, WRONG_TYPE, SourceSpec

_FIRST_MOMENT, _LAST_MOMENT = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Of the years 1 to 9999, in microseconds since 1970."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceColumns:
    """What one file holds, in batches of rows.

    A batch has the spec's columns but those that the file lacks, and `wrong_type`: the first column that had a value of
    another type, or null. Of a source without ids also `row_sha256`, which is their id.
    """

    batches: deque[pa.RecordBatch]
    """In the file's order; who is done with one may take it out."""
    missing: tuple[str, ...]
    """Columns of the spec that the file does not have."""

    @property
    def num_rows(self) -> int:
        """How many rows the batches have."""
        return sum(batch.num_rows for batch in self.batches)

    def table(self) -> pa.Table:
        """Return all that the batches hold; a file without rows has no columns."""
        return pa.Table.from_batches(self.batches) if self.batches else pa.table({})


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRows:
    """What one file holds, row by row."""

    rows: list[dict[str, Any]]
    """A value or None by column of `SourceColumns`."""
    missing: tuple[str, ...]
    """Columns of the spec that the file does not have; no row has them."""


def read_rows(data: bytes, path: str, spec: SourceSpec) -> SourceRows:
    """Return what `read_columns` does, row by row: ten times as slow, for who looks at few."""
    found = read_columns(data, path, spec)
    return SourceRows(rows=[row for batch in found.batches for row in batch.to_pylist()], missing=found.missing)


def read_columns(data: bytes, path: str, spec: SourceSpec) -> SourceColumns:
    """Return every row of a landing file, or none at all.

    Costs a fork of a process that has the parsers loaded, about 10 ms; the first call of a process starts that, 1 s.

    Args:
        data: The file as it lies there.
        path: Where: below the landing zone.
        spec: What the source looks like.

    Raises:
        DataError: The file is cut off, damaged, or not what the spec says.
        HostileInput: It goes beyond a limit, or its parser crashed.
        SourceUnavailable: The parser was ended from outside.
    """
    batches: deque[pa.RecordBatch] = deque()
    missing: tuple[str, ...] = ()
    for part in parse_apart(data, path, spec):
        if isinstance(part, tuple):
            missing = part
        else:
            _check_moments(part, path)
            batches.append(part)
    for _ in range(len(batches)):
        batches.append(_told(batches.popleft(), missing, spec))
    return SourceColumns(batches=batches, missing=missing)


def _check_moments(batch: pa.RecordBatch, path: str) -> None:
    """Return if every moment is one that Python has."""
    for column in batch.columns:
        if pa.types.is_timestamp(column.type):
            found = pc.min_max(column.cast(pa.int64())).as_py()
            if found["min"] is not None and not _FIRST_MOMENT <= found["min"] <= found["max"] <= _LAST_MOMENT:
                raise HostileInput(f"{path}: its parser sent a moment that is none")


def _told(batch: pa.RecordBatch, missing: tuple[str, ...], spec: SourceSpec) -> pa.RecordBatch:
    """Return a batch of the columns that the file has, the wrong ones by name, with ids for rows that bring none."""
    wrong = batch.column(WRONG_TYPE)
    is_name = pc.and_(pc.greater_equal(wrong, 0), pc.less(wrong, len(spec.column_names)))
    if pc.any(is_name, min_count=0).as_py():
        named = pa.array(spec.column_names).take(pc.if_else(is_name, wrong, None))
    else:
        named = pa.nulls(batch.num_rows, pa.string())
    columns = {name: batch.column(name) for name in spec.column_names if name not in missing} | {WRONG_TYPE: named}
    if not spec.has_ids:
        rows = pa.RecordBatch.from_pydict(columns).to_pylist()
        columns[ROW_SHA256] = pa.array([_sha256(row) for row in rows], pa.string())
    return pa.RecordBatch.from_pydict(columns)


def _sha256(row: Mapping[str, Any]) -> str:
    """Return what tells a row from any other; text in one form, as ids are, so that rows that look alike are one."""
    values = {name: normalise(value) if isinstance(value, str) else value for name, value in row.items()}
    # A moment as ISO 8601 in UTC: the only value that JSON does not have.
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def parse_apart(data: bytes, path: str, spec: SourceSpec) -> Iterator[pa.RecordBatch | tuple[str, ...]]:
    """Yield batches of a file's rows as a child parses them, then the columns that the file does not have.

    What was yielded is no whole file before the end: use none of it where this raises. The child's time runs on while
    its caller works on a batch. Errors as for `read_columns`.
    """
    job = ParseJob.of(path, spec)
    with parser.borrowed() as worker:
        yield from worker.parse(data, path, job)
