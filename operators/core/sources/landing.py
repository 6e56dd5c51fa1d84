"""Landing files: zstd-compressed JSON lines, read whole within limits or refused with file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import zstandard

from operators.core.errors import DataError, HostileInput, SourceChanged
from operators.core.manifest import sha256_hex
from operators.core.sources.spec import ReadLimits, SourceSpec

MAX_WINDOW_BYTES = 128 * 1024**2
"""Largest window a zstd frame may ask its reader to hold; `zstd --ultra -22` asks for this much."""
PIECE_BYTES = 512
"""Compressed bytes decoded at once. One 4-byte block can hold 128 KiB, so a piece grows to 16 MiB at most."""


def landing_folder(url: str) -> Path:
    """Return the folder that a landing URL names.

    Raises:
        ValueError: It is no `file:///` URL.
    """
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/"):
        raise ValueError(f"landing zone {url!r}: use file:///folder")
    return Path(unquote(parts.path))


def read_bytes(path: Path, name: str, limits: ReadLimits, sha256: str | None = None) -> bytes:
    """Return a landing file's bytes.

    Args:
        path: Where it lies.
        name: What it is called in messages: its path below the landing zone.
        limits: The largest size accepted.
        sha256: The digest it was listed with; None to accept any.

    Raises:
        SourceChanged: It is gone, or has another digest.
        HostileInput: It is larger than the limit.
    """
    try:
        with path.open("rb") as handle:
            data = handle.read(limits.max_file_bytes + 1)
    except FileNotFoundError:
        raise SourceChanged(
            f"{name}: listed, but gone from the landing zone; put it back or run the day anew"
        ) from None
    if len(data) > limits.max_file_bytes:
        raise HostileInput(f"{name}: larger than {limits.max_file_bytes} bytes; split it into several files")
    if sha256 is not None and sha256_hex(data) != sha256:
        raise SourceChanged(
            f"{name}: its content is not what was listed; landing files must not change, run the day anew"
        )
    return data


def decode_rows(data: bytes, name: str, spec: SourceSpec) -> list[dict[str, Any]]:
    """Return every row of a landing file, or none at all.

    Raises:
        DataError: The file is cut off or damaged, or a line is not UTF-8, not JSON or not an object.
        HostileInput: It grows beyond the limits, or nests too deeply.
    """
    rows: list[dict[str, Any]] = []
    plain = _decompress(data, name, spec.limits)
    for number, line in enumerate(plain.split(b"\n"), start=1):
        if not line.strip():
            continue
        if len(line) > spec.limits.max_line_bytes:
            raise HostileInput(f"{name}, line {number}: longer than {spec.limits.max_line_bytes} bytes")
        if len(rows) == spec.limits.max_rows:
            raise HostileInput(f"{name}, line {number}: more than {spec.limits.max_rows} rows; split the file")
        rows.append(_decode_line(line, f"{name}, line {number}"))
    return rows


def _decode_line(line: bytes, where: str) -> dict[str, Any]:
    # Messages name the place and the kind of error only: the line itself is personal data.
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 at byte {error.start}; write the file again") from None
    except RecursionError:
        raise HostileInput(f"{where}: JSON nested too deeply") from None
    except ValueError as error:
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{where}: not JSON{place}; the file is cut off or damaged, write it again") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a JSON {type(row).__name__}, an object with the columns is expected")
    return row


def _decompress(data: bytes, name: str, limits: ReadLimits) -> bytes:
    allowed = min(limits.max_decoded_bytes, max(len(data) * limits.max_ratio, 1024**2))
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in _decoded_pieces(data):
            size += len(piece)
            if size > allowed:
                raise HostileInput(
                    f"{name}: {len(data)} bytes decompress to more than {allowed}; a bomb, or raise the limits"
                )
            pieces.append(piece)
    except zstandard.ZstdError as error:
        raise DataError(f"{name}: not a sound zstd file ({error}); write it again") from None
    except EOFError:
        raise DataError(f"{name}: cut off, its last zstd frame does not end; write it again") from None
    return b"".join(pieces)


def _decoded_pieces(data: bytes) -> Iterator[bytes]:
    if not data:
        raise EOFError
    place = 0
    while place < len(data):
        # `decompressobj` alone says whether a frame has ended; a reader takes a cut file for a short one.
        frame = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).decompressobj()
        while not frame.eof:
            if place >= len(data):
                raise EOFError
            yield frame.decompress(data[place : place + PIECE_BYTES])
            place = min(place + PIECE_BYTES, len(data))
        place -= len(frame.unused_data)
