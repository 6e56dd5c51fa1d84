"""JSON Lines: an object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from operators.core.errors import DataError, HostileInput
from operators.core.sources.columns import NATIVE, Batches
from operators.core.sources.job import ParseJob


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
    while line := plain.readline(limit + 2):
        number += 1
        if len(line.rstrip(b"\n")) > limit:
            raise HostileInput(f"line {number}: longer than {limit} bytes")
        if line.strip() and batches.add(_decode(line, number, job.limits.max_columns), len(line)):
            yield batches.take()
    yield from batches.rest()
    yield batches.missing


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
