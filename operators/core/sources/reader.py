"""Rows of untrusted files, parsed in a process of their own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from operators.core.errors import DataError, HostileInput, SourceChanged
from operators.core.sources import parser
from operators.core.sources.contents import normalise
from operators.core.sources.exchange import Incoming
from operators.core.sources.job import ParseJob
from operators.core.sources.landing import LandingZone
from operators.core.sources.listing import SourceFile
from operators.core.sources.spec import ROW_SHA256, WRONG_TYPE, SourceSpec

_FIRST_MOMENT, _LAST_MOMENT = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Of the years 1 to 9999, in microseconds since 1970."""


Part: TypeAlias = "pa.RecordBatch | tuple[str, ...]"
"""Rows of a file, or at its end the columns of the spec that it does not have.

Rows have the spec's columns and `wrong_type`: the first column that had a value of another type, or null. Of a source
without ids also `row_sha256`, which is their id.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRows:
    """What one file holds, row by row."""

    rows: list[dict[str, Any]]
    """A value or None by column of `Part`."""
    missing: tuple[str, ...]
    """Columns of the spec that the file does not have; no row has a value of them."""


def read_listed(zone: LandingZone, file: SourceFile, spec: SourceSpec) -> Generator[Part, None, None]:
    """Yield what `read_columns` does of a file as it was listed; it is opened when the first part is asked for."""
    incoming = zone.open(file.path, spec.limits.max_file_bytes, file.sha256)
    if incoming.size != file.bytes:
        # Its digest would say so too, at its end.
        raise SourceChanged(f"{file.path}: its content is not what was listed, by its size; run the day anew")
    yield from read_columns(incoming, file.path, spec)


def read_rows(data: bytes | Incoming, path: str, spec: SourceSpec) -> SourceRows:
    """Return what `read_columns` yields as a whole and row by row: ten times as slow, for who looks at few."""
    rows: list[dict[str, Any]] = []
    missing: tuple[str, ...] = ()
    for part in read_columns(data, path, spec):
        if isinstance(part, tuple):
            missing = part
        else:
            rows += part.to_pylist()
    return SourceRows(rows=rows, missing=missing)


def read_columns(data: bytes | Incoming, path: str, spec: SourceSpec) -> Generator[Part, None, None]:
    """Yield every row of a landing file, a few megabytes at once; what is yielded counts once the end is reached.

    Costs a fork of a process that has the parsers loaded, about 10 ms; the first call of a process starts that, 1 s.

    Args:
        data: The file as it lies there.
        path: Where: below the landing zone.
        spec: What the source looks like.

    Raises:
        DataError: The file is cut off, damaged, or not what the spec says.
        HostileInput: It goes beyond a limit, or its parser crashed.
        SourceChanged: It is not what was listed, which may be known at its end only.
        SourceUnavailable: The parser was ended from outside.
    """
    for part in parse_apart(data, path, spec):
        if isinstance(part, tuple):
            yield part
        else:
            _check_moments(part, path)
            yield _told(part, spec)


def _check_moments(batch: pa.RecordBatch, path: str) -> None:
    """Return if every moment is one that Python has."""
    for column in batch.columns:
        if pa.types.is_timestamp(column.type):
            found = pc.min_max(column.cast(pa.int64())).as_py()
            if found["min"] is not None and not _FIRST_MOMENT <= found["min"] <= found["max"] <= _LAST_MOMENT:
                raise HostileInput(f"{path}: its parser sent a moment that is none")


def _told(batch: pa.RecordBatch, spec: SourceSpec) -> pa.RecordBatch:
    """Return a batch with the wrong columns by name, and with ids for rows that bring none."""
    wrong = batch.column(WRONG_TYPE)
    is_name = pc.and_(pc.greater_equal(wrong, 0), pc.less(wrong, len(spec.column_names)))
    if pc.any(is_name, min_count=0).as_py():
        named = pa.array(spec.column_names).take(pc.if_else(is_name, wrong, None))
    else:
        named = pa.nulls(batch.num_rows, pa.string())
    columns = {name: batch.column(name) for name in spec.column_names} | {WRONG_TYPE: named}
    if not spec.has_ids:
        rows = pa.RecordBatch.from_pydict(columns).to_pylist()
        columns[ROW_SHA256] = pa.array([_sha256(row) for row in rows], pa.string())
    return pa.RecordBatch.from_pydict(columns)


def _sha256(row: Mapping[str, Any]) -> str:
    """Return what tells a row from any other; text in one form, as ids are, so that rows that look alike are one."""
    values = {name: normalise(value) if isinstance(value, str) else value for name, value in row.items()}
    # A moment as ISO 8601 in UTC: the only value that JSON does not have.
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def parse_apart(data: bytes | Incoming, path: str, spec: SourceSpec) -> Generator[Part, None, None]:
    """Yield batches of a file's rows as a child parses them, then the columns that the file does not have.

    What was yielded is no whole file before the end: use none of it where this raises. Errors as for `read_columns`.
    """
    job = ParseJob.of(path, spec)
    file = Incoming.of(data) if isinstance(data, bytes) else data
    with parser.borrowed() as worker:
        try:
            yield from worker.parse(file, path, job)
        except DataError:
            # What it says of a file that is another by now is beside the point.
            file.finish()
            raise
        file.finish()
