"""How rows come back from a process that may have been taken over by what it read: plain buffers, checked in full.

A frame is the length of its head (4 bytes, big-endian), the head as JSON, and the buffers of a batch's columns as
Arrow lays them out. Nothing is unpickled, and no Arrow message is parsed, which could itself be a bomb: the receiver
knows the columns, so that lengths are all it is told. The last frame says how it ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, BinaryIO

import pyarrow as pa

MAX_HEAD_BYTES = 1024**2
SENT_BYTES = 32 * 1024**2
"""Batches are cut into frames of about this size; a single row may be larger."""


class NotAFrame(Exception):
    """What came is not what `send_batch` or `send_end` sends."""


def send_batch(target: BinaryIO, batch: pa.RecordBatch) -> None:
    """Write a batch as one frame or several."""
    if batch.nbytes > SENT_BYTES and batch.num_rows > 1:
        half = batch.num_rows // 2
        send_batch(target, batch.slice(0, half))
        send_batch(target, batch.slice(half))
        return
    # A slice shares its buffers with the whole; what is sent begins at its first row.
    buffers = [b for column in batch.columns for b in pa.concat_arrays([column]).buffers()] if batch.num_rows else []
    _send(target, {"rows": batch.num_rows, "sizes": [None if b is None else b.size for b in buffers]})
    for buffer in buffers:
        if buffer is not None:
            target.write(buffer)


def send_end(target: BinaryIO, end: dict[str, Any]) -> None:
    """Write the last frame."""
    _send(target, {"end": end})


def _send(target: BinaryIO, head: dict[str, Any]) -> None:
    text = json.dumps(head).encode()
    target.write(len(text).to_bytes(4, "big") + text)


def receive(read: Callable[[int], pa.Buffer], schema: pa.Schema, max_bytes: int) -> pa.RecordBatch | dict[str, Any]:
    """Return the next batch, or what the last frame says.

    Args:
        read: Returns exactly that many bytes.
        schema: The columns of a batch.
        max_bytes: Most bytes that the buffers of a frame may have.

    Raises:
        NotAFrame: It is none, or its buffers do not make the columns.
    """
    size = int.from_bytes(read(4).to_pybytes(), "big")
    if size > MAX_HEAD_BYTES:
        raise NotAFrame
    try:
        head = json.loads(read(size).to_pybytes())
        if "end" in head:
            return dict(head["end"])
        rows, sizes = head["rows"], head["sizes"]
        counts = [3 if pa.types.is_string(field.type) else 2 for field in schema]
        if len(sizes) != sum(counts) or not all(_is_count(n) for n in (rows, *(n for n in sizes if n is not None))):
            raise NotAFrame
        if sum(n or 0 for n in sizes) > max_bytes:
            raise NotAFrame
        buffers = [None if n is None else read(n) for n in sizes]
        return _batch(rows, buffers, counts, schema)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise NotAFrame from None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _batch(rows: int, buffers: list[pa.Buffer | None], counts: list[int], schema: pa.Schema) -> pa.RecordBatch:
    arrays = []
    for field, count in zip(schema, counts, strict=True):
        arrays.append(pa.Array.from_buffers(field.type, rows, buffers[:count]))
        buffers = buffers[count:]
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    # Offsets within their data, text in UTF-8, sizes as declared. What it raises is a ValueError.
    batch.validate(full=True)
    return batch
