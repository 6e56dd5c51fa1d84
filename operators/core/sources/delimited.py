"""CSV: a header, then a record a line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from operators.core.errors import DataError, HostileInput
from operators.core.sources.columns import WRITTEN, Batches
from operators.core.sources.job import ParseJob
from operators.core.sources.nfkc import nfkc


def parse_csv(plain: BinaryIO, job: ParseJob) -> Iterator[pa.RecordBatch | set[str]]:
    """Yield batches, then the columns that the header does not name.

    Raises:
        DataError: It is not UTF-8, its header names a column twice, or a record has not as many fields as the header.
        HostileInput: A record is too long, or the columns are too many.
    """
    csv.field_size_limit(job.limits.max_line_bytes)
    records = csv.reader(
        _lines(plain, job.limits.max_line_bytes), delimiter=job.csv.delimiter, quotechar=job.csv.quote, strict=True
    )
    batches = Batches(job, WRITTEN)
    try:
        header = _header(records, job)
        for record in records:
            if len(record) == len(header):
                if batches.add(dict(zip(header, record, strict=True)), sum(map(len, record))):
                    yield batches.take()
            elif record:
                raise DataError(
                    f"line {records.line_num}: {len(record)} fields under a header of {len(header)};"
                    " quote fields that hold the delimiter or a line end"
                )
    except csv.Error as error:
        # Its words name what is wrong, never a field.
        kind = HostileInput if "limit" in str(error) else DataError
        raise kind(f"line {records.line_num}: {error}; write the file again") from None
    yield from batches.rest()
    yield batches.missing - set(header)


def _header(records: Iterator[list[str]], job: ParseJob) -> list[str]:
    header = [nfkc(name).strip() for name in next(records, [])]
    if not header:
        raise DataError("no header; the first line names the columns")
    if len(header) > job.limits.max_columns:
        raise HostileInput(f"{len(header)} columns, more than {job.limits.max_columns}")
    if len(set(header)) != len(header):
        raise DataError("the header names a column twice, or two that look alike; name each once")
    return header


def _lines(plain: BinaryIO, limit: int) -> Iterator[str]:
    """Yield lines with their ends, as the csv module wants them: a quoted field may go over several."""
    text = io.TextIOWrapper(plain, encoding="utf-8-sig", newline="")
    number = 0
    try:
        while line := text.readline(limit + 3):
            number += 1
            # Characters are counted here, and there are never more of them than bytes.
            if len(line.rstrip("\r\n")) > limit:
                raise HostileInput(f"line {number}: longer than {limit} bytes")
            yield line
    except UnicodeDecodeError:
        # What is read ahead is decoded in blocks: the line is about where it is.
        raise DataError(f"not UTF-8 after line {number}; save the file as UTF-8") from None
