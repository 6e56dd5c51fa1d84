"""JSON Lines: an object a line."""

from __future__ import annotations

import codecs
import io
import json
import operator
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from operators.core.errors import DataError, HostileInput
from operators.core.sources.columns import ARROW_TYPES, NATIVE, Batches
from operators.core.sources.job import ParseJob
from operators.core.sources.spec import ColumnType

BLOCK_BYTES = 1024**2
"""Lines are read in blocks of about this size."""
_OPENING = {ord("{")}
_MINUS_ZERO = re.compile(rb"-0[\s,}]")
"""A whole number that pyarrow reads as -0.0, which is 0 by itself."""
_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.float64(), float: pa.float64(), type(None): pa.null()}
"""Of values that no column of the recipe has."""


class _Repeated(Exception):
    """A key stands twice in an object: readers differ in which they take."""


def parse_json_lines(plain: BinaryIO, job: ParseJob) -> Iterator[pa.RecordBatch | set[str]]:
    """Yield batches, then the columns that no row has.

    Raises:
        DataError: A line is not UTF-8, not JSON or not an object.
        HostileInput: A line is too long, nests too deeply or has too many keys.
    """
    batches = Batches(job, NATIVE)
    limit = job.limits.max_line_bytes
    number = 0
    while block := plain.read(BLOCK_BYTES):
        block += plain.readline(limit + 2)
        if number == 0:
            block = block.removeprefix(codecs.BOM_UTF8)
        columns = _at_once(block, number, batches.missing, job)
        if columns is not None:
            yield from batches.rest()
            batches.missing.clear()
            ready = batches.of(columns)
            number += ready.num_rows
            yield ready
            continue
        for line in io.BytesIO(block):
            number += 1
            if len(line.rstrip(b"\n")) > limit:
                raise HostileInput(f"line {number}: longer than {limit} bytes")
            if line.strip() and batches.add(_decode(line, number, job.limits.max_columns), len(line)):
                yield batches.take()
    yield from batches.rest()
    yield batches.missing


def _at_once(block: bytes, number: int, missing: set[str], job: ParseJob) -> dict[str, pa.Array] | None:
    """Return a block's columns as pyarrow reads them, None where it might read them otherwise than line by line.

    It might where a value is not of its column's type, a key is none of the first line's, a line is not just an object,
    or no row has a column of which that is still to be told. A line by itself then says what is wrong, and where.
    """
    if len(block) > job.limits.max_line_bytes:
        return None
    lines = io.BytesIO(block).readlines()
    # A line has an object at its beginning; it is all of it where there are as many objects as lines.
    if set(map(operator.itemgetter(0), lines)) != _OPENING:
        return None
    schema = _schema(lines[0], number + 1, job)
    try:
        if schema is None or not (block.isascii() or block.decode()):
            return None
        table = arrow_json.read_json(
            pa.BufferReader(block),
            # One block, one thread: the process may start no second one.
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        ).combine_chunks()
    except (UnicodeDecodeError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    columns = {name: table[name].chunk(0) for name in schema.names if table.num_rows}
    if table.num_rows != len(lines) or any(columns[name].null_count == table.num_rows for name in missing):
        return None
    numbers = [array for array in columns.values() if pa.types.is_floating(array.type)]
    if any(_has_minus_zero(array) for array in numbers) and _MINUS_ZERO.search(block):
        return None
    return columns if all(pc.all(pc.is_finite(array), min_count=0).as_py() for array in numbers) else None


def _has_minus_zero(numbers: pa.Array) -> bool:
    return bool(pc.any(pc.equal(numbers.view(pa.int64()), -(2**63)), min_count=0).as_py())


def _schema(line: bytes, number: int, job: ParseJob) -> pa.Schema | None:
    """Return the columns of a file whose first line this is, None where one holds what no column of a recipe can."""
    try:
        row = _decode(line, number, job.limits.max_columns)
    except (DataError, HostileInput):
        return None
    kinds: dict[str, pa.DataType | None] = {name: _TYPES.get(type(value)) for name, value in row.items()}
    for column in job.columns:
        if column.name not in job.constants:
            # A moment is read as the text that it is.
            of_text = column.type is ColumnType.TIMESTAMP
            kinds[column.name] = pa.string() if of_text else ARROW_TYPES[column.type]
    return None if None in kinds.values() or len(kinds) > job.limits.max_columns else pa.schema(list(kinds.items()))


def _decode(line: bytes, number: int, max_keys: int) -> dict[str, Any]:
    # Messages name the place and the kind of error only: the line itself is personal data.
    where = f"line {number}"
    try:
        row = _DECODER.decode(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 at byte {error.start}; write the file again") from None
    except _Repeated:
        raise DataError(f"{where}: an object names a key twice; write each once") from None
    except RecursionError:
        raise HostileInput(f"{where}: JSON nested too deeply") from None
    except ValueError as error:
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{where}: not JSON{place}; the file is cut off or damaged, write it again") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a JSON {type(row).__name__}, an object with the columns is expected")
    if len(row) > max_keys:
        raise HostileInput(f"{where}: {len(row)} keys, more than {max_keys}")
    return row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Repeated
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
