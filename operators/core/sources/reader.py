"""Rows of untrusted files, parsed in a process of their own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from operators.core.errors import HostileInput
from operators.core.sources import parser
from operators.core.sources.contents import normalise
from operators.core.sources.job import ParseJob
from operators.core.sources.spec import ROW_SHA256, WRONG_TYPE, SourceSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRows:
    """What one file holds."""

    rows: list[dict[str, Any]]
    """A value or None by column, and `wrong_type`: the first column that had a value of another type, or None.
    Of a source without ids also `row_sha256`, which is their id."""
    missing: tuple[str, ...]
    """Columns of the spec that the file does not have; no row has them."""


def read_rows(data: bytes, path: str, spec: SourceSpec) -> SourceRows:
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
    rows: list[dict[str, Any]] = []
    missing: tuple[str, ...] = ()
    names = spec.column_names
    for part in parse_apart(data, path, spec):
        if isinstance(part, tuple):
            missing = part
            continue
        wrong = part.column(WRONG_TYPE).to_pylist()
        for row, number in zip(_values(part, path), wrong, strict=True):
            row[WRONG_TYPE] = names[number] if 0 <= number < len(names) else None
            rows.append(row)
    for row in rows:
        for name in missing:
            row.pop(name, None)
        if not spec.has_ids:
            row[ROW_SHA256] = _sha256(row)
    return SourceRows(rows=rows, missing=missing)


def _sha256(row: Mapping[str, Any]) -> str:
    """Return what tells a row from any other; text in one form, as ids are, so that rows that look alike are one."""
    values = {name: normalise(value) if isinstance(value, str) else value for name, value in row.items()}
    # A moment as ISO 8601 in UTC: the only value that JSON does not have.
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _values(batch: pa.RecordBatch, path: str) -> list[dict[str, Any]]:
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError):
        raise HostileInput(f"{path}: its parser sent a moment that is none") from None


def parse_apart(data: bytes, path: str, spec: SourceSpec) -> Iterator[pa.RecordBatch | tuple[str, ...]]:
    """Yield batches of a file's rows as a child parses them, then the columns that the file does not have.

    What was yielded is no whole file before the end: use none of it where this raises. The child's time runs on while
    its caller works on a batch. Errors as for `read_rows`.
    """
    job = ParseJob.of(path, spec)
    with parser.borrowed() as worker:
        yield from worker.parse(data, path, job)
