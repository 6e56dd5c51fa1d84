"""Parquet: what the footer declares is held against the limits before a column is read."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operators.core.errors import DataError, HostileInput
from operators.core.sources.codec import allowed_bytes
from operators.core.sources.columns import SOUND, constant, normal_identifiers, schema_of
from operators.core.sources.conversion import check_type, typed
from operators.core.sources.job import ParseJob
from operators.core.sources.nfkc import nfkc

MAX_FOOTER_BYTES = 16 * 1024**2
MAX_ROW_GROUPS = 32_767
"""What the format itself allows."""
BATCH_ROWS = 4096
BATCH_BYTES = 4 * 1024**2
"""Batches have about so many bytes as the footer counts them, and rows at most."""
_MAGIC = b"PAR1"


def parse_parquet(plain: bytes, job: ParseJob) -> Iterator[pa.RecordBatch | set[str]]:
    """Yield batches, then the columns that the file does not have.

    Raises:
        DataError: It is no sound Parquet file, or a column is of another type than the spec says.
        HostileInput: The footer declares more than the limits allow, or the columns hold more.
    """
    _check_footer(plain)
    try:
        # One thread: the process may start no second one. Without look-ahead, which another thread would do.
        file = pq.ParquetFile(
            pa.BufferReader(plain),
            pre_buffer=False,
            page_checksum_verification=True,
            thrift_string_size_limit=MAX_FOOTER_BYTES,
            thrift_container_size_limit=1_000_000,
        )
        declared = _check_declared(file.metadata, len(plain), job)
        rows = BATCH_BYTES * file.metadata.num_rows // max(1, declared)
        yield from _batches(file, job, max(1, min(BATCH_ROWS, rows)))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        # Not its message: it may quote what the file says.
        raise DataError(f"not a sound Parquet file ({type(error).__name__}); write it again") from None


def _check_footer(plain: bytes) -> None:
    if len(plain) < 12 or plain[:4] != _MAGIC or plain[-4:] != _MAGIC:
        raise DataError("not a whole, unencrypted Parquet file: it neither begins nor ends as one; write it again")
    size = int.from_bytes(plain[-8:-4], "little")
    if size > len(plain) - 12:
        raise HostileInput(f"a forged footer: {size} bytes of it in a file of {len(plain)}")
    if size > MAX_FOOTER_BYTES:
        raise HostileInput(f"a footer of {size} bytes, more than {MAX_FOOTER_BYTES}; write fewer columns or row groups")


def _check_declared(declared: pq.FileMetaData, size: int, job: ParseJob) -> int:
    """Return how many bytes the wanted columns have uncompressed, as the footer says, if that is not too much."""
    limits = job.limits
    if declared.num_columns > limits.max_columns:
        raise HostileInput(f"{declared.num_columns} columns, more than {limits.max_columns}")
    if declared.num_row_groups > MAX_ROW_GROUPS:
        raise HostileInput(f"{declared.num_row_groups} row groups, more than {MAX_ROW_GROUPS}")
    if declared.num_rows > limits.max_rows:
        raise HostileInput(f"{declared.num_rows} rows, more than {limits.max_rows}; split the file")
    groups = [declared.row_group(number) for number in range(declared.num_row_groups)]
    if any(group.num_rows < 0 for group in groups) or sum(g.num_rows for g in groups) != declared.num_rows:
        raise HostileInput("a forged footer: its row groups do not add up to its rows")
    names = {column.name for column in job.columns}
    allowed, total = allowed_bytes(size, limits), 0
    for group in groups:
        for number in range(declared.num_columns):
            chunk = group.column(number)
            if chunk.total_compressed_size < 0 or chunk.total_compressed_size > size:
                raise HostileInput("a forged footer: a column of it is larger than the file")
            if chunk.path_in_schema.split(".")[0] in names:
                total += max(chunk.total_uncompressed_size, 0)
    if total > allowed:
        raise HostileInput(f"{size} bytes declare {total} uncompressed, {allowed} are allowed; or raise the limits")
    return total


def _batches(file: pq.ParquetFile, job: ParseJob, at_once: int) -> Iterator[pa.RecordBatch | set[str]]:
    schema = file.schema_arrow
    names = [nfkc(name) for name in schema.names]
    if len(set(names)) != len(names):
        raise DataError("two columns of one name, or of names that look alike; name each once")
    wanted = [column for column in job.columns if column.name in schema.names and column.name not in job.constants]
    for column in wanted:
        check_type(column, schema.field(column.name).type)
    rows = size = 0
    for batch in file.iter_batches(at_once, columns=[column.name for column in wanted], use_threads=False):
        rows += batch.num_rows
        ready = _typed(batch, job)
        size += ready.nbytes
        if size > job.limits.max_decoded_bytes:
            raise HostileInput(f"its columns hold more than {job.limits.max_decoded_bytes} bytes; split the file")
        yield ready
    if rows != file.metadata.num_rows:
        raise HostileInput(f"a forged footer: it declares {file.metadata.num_rows} rows, and {rows} are there")
    there = {column.name for column in wanted} | set(job.constants)
    yield {column.name for column in job.columns} - there


def _typed(batch: pa.RecordBatch, job: ParseJob) -> pa.RecordBatch:
    schema = schema_of(job.columns)
    wrong = pa.repeat(SOUND, batch.num_rows)
    arrays = []
    for number, column in enumerate(job.columns):
        if column.name in batch.schema.names:
            array, bad = typed(batch.column(column.name), column, job.limits.max_line_bytes)
        elif column.name in job.constants:
            array, is_one = constant(job.constants[column.name], column.type, batch.num_rows)
            bad = pa.repeat(not is_one, batch.num_rows)
        else:
            array, bad = pa.nulls(batch.num_rows, schema.field(number).type), pa.repeat(False, batch.num_rows)
        arrays.append(normal_identifiers(array) if column.name == job.id_column else array)
        if pc.any(bad, min_count=0).as_py():
            wrong = pc.if_else(pc.and_(bad, pc.less(wrong, 0)), pa.scalar(number, pa.int32()), wrong)
    return pa.RecordBatch.from_arrays([*arrays, wrong], schema=schema)
