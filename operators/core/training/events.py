"""TensorBoard's event files, of scalars alone.

A file is a run of TFRecords, each a small protobuf. Both are written here: the package that has a writer brings a web
server and gRPC along, which a training needs for nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

EVENTS = "events"
"""Folder of the files, in a job's."""
_POLYNOMIAL = 0x82F63B78
"""CRC-32C (Castagnoli), bits reversed."""
_VERSION, _SUMMARY, _SESSION, _START = 3, 5, 7, b"\x08\x01"
"""Fields of an Event, and a session's first moment; see tensorflow/core/util/event.proto."""


class Events:
    """One gang's event file; what was written is seen by readers after `flush`."""

    def __init__(self, path: Path, step: int, wall_seconds: float) -> None:
        """Begin the file: what former gangs wrote of this step and later ones is void."""
        path.parent.mkdir(exist_ok=True)
        self._file = path.open("wb")
        self._write(wall_seconds, 0, _VERSION, b"brain.Event:2")
        self._write(wall_seconds, step, _SESSION, _START)

    def add(self, step: int, wall_seconds: float, scalars: Mapping[str, float]) -> None:
        """Write what was seen in a step, by name."""
        values = (_bytes(1, tag.encode()) + struct.pack("<Bf", 2 << 3 | 5, value) for tag, value in scalars.items())
        self._write(wall_seconds, step, _SUMMARY, b"".join(_bytes(1, value) for value in values))

    def flush(self) -> None:
        """Have what was written seen by readers."""
        self._file.flush()

    def close(self) -> None:
        """Write nothing more."""
        self._file.close()

    def _write(self, wall_seconds: float, step: int, field: int, content: bytes) -> None:
        # A protobuf leaves zeros out.
        number = b"\x10" + _varint(step) if step else b""
        event = struct.pack("<Bd", 1 << 3 | 1, wall_seconds) + number + _bytes(field, content)
        length = struct.pack("<Q", len(event))
        self._file.write(length + _checksum(length) + event + _checksum(event))


def _bytes(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (_POLYNOMIAL if value & 1 else 0) for value in table]
    return table


_TABLE = _table()


def _checksum(data: bytes) -> bytes:
    """Return TFRecord's masked CRC-32C."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
