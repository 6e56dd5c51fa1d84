"""Compressed files as plain ones, a piece at a time: sound to the last byte, and no larger than their limits."""

from __future__ import annotations

import bz2
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from operators.core.errors import DataError, HostileInput
from operators.core.sources.spec import ReadLimits

MAX_WINDOW_BYTES = 128 * 1024**2
"""Largest dictionary an xz file may ask its reader to hold. zstd's windows end there of themselves: `zstd --ultra -22`
asks for this much."""
FREE_BYTES = 1024**2
"""What may come out however small the file is: the ratio of a few bytes says nothing."""
_IN_BYTES = 16 * 1024
_OUT_BYTES = 256 * 1024
_BROKEN = (zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError, NotImplementedError)


class PlainFile(io.RawIOBase):
    """The plain content of a file, for `io.BufferedReader`.

    Reading raises `DataError` where the file is cut off or damaged, `HostileInput` where it grows beyond its limits.
    """

    def __init__(self, file: BinaryIO, size: int, compression: str, limits: ReadLimits) -> None:
        self._pieces = _pieces(file, size, compression, allowed_bytes(size, limits))
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill as much of the target as the next piece does; 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def allowed_bytes(size: int, limits: ReadLimits) -> int:
    """Return how many plain bytes may come of a file of that many."""
    return min(limits.max_decoded_bytes, max(size * limits.max_ratio, FREE_BYTES))


def plain_bytes(file: BinaryIO, size: int, compression: str, limits: ReadLimits) -> bytes:
    """Return the whole plain content of a file of that many bytes."""
    return b"".join(_pieces(file, size, compression, allowed_bytes(size, limits)))


def _pieces(file: BinaryIO, size: int, compression: str, allowed: int) -> Iterator[bytes]:
    plain = 0
    try:
        if compression and not size:
            raise EOFError
        for piece in _DECODERS[compression](file):
            plain += len(piece)
            if plain > allowed:
                raise HostileInput(
                    f"{size} bytes decompress to more than {allowed}; a bomb, or raise the recipe's limits"
                )
            yield piece
    except _BROKEN as error:
        # Its words come from the library, never from the content.
        what = type(error).__name__ if isinstance(error, OSError) else str(error)
        raise DataError(f"not a sound {compression} file ({what}); write it again") from None
    except EOFError:
        raise DataError(f"cut off, its last {compression} part does not end; write it again") from None


def _plain(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_OUT_BYTES):
        yield piece


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    # Arrow's reader makes at most 128 KiB more than it is asked for, and takes no cut file for a short one.
    with pa.input_stream(pa.PythonFile(file, "r"), compression="zstd") as stream:
        try:
            while piece := stream.read(_OUT_BYTES):
                yield piece
        except OSError as error:
            raise EOFError if "Truncated" in str(error) else error from None


def _gzip(file: BinaryIO) -> Iterator[bytes]:
    fed = file.read(_IN_BYTES)
    while fed:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            piece = member.decompress(fed, _OUT_BYTES)
            if not piece and not fed and not member.eof:
                raise EOFError
            yield piece
            # In small pieces, for what a call leaves over is copied: of a whole file that would be quadratic.
            fed = member.unconsumed_tail or member.unused_data or file.read(_IN_BYTES)


def _streams(make: Callable[[], Any]) -> Callable[[BinaryIO], Iterator[bytes]]:
    def decode(file: BinaryIO) -> Iterator[bytes]:
        fed = file.read(_IN_BYTES)
        while fed:
            stream = make()
            while not stream.eof:
                if stream.needs_input and not fed:
                    raise EOFError
                yield stream.decompress(fed, _OUT_BYTES)
                fed = stream.unused_data or (file.read(_IN_BYTES) if stream.eof or stream.needs_input else b"")

    return decode


def _zip(file: BinaryIO) -> Iterator[bytes]:
    # What is in a zip stands at its end.
    with zipfile.ZipFile(io.BytesIO(file.read())) as archive:
        members = archive.infolist()
        if len(members) != 1 or members[0].is_dir():
            raise HostileInput(f"a zip of {len(members)} entries; one file a zip is read, never an archive")
        member = members[0]
        parts = member.filename.replace("\\", "/").split("/")
        if len(parts) != 1 or parts[0] in ("", ".", "..") or not parts[0].isprintable():
            raise HostileInput("the name in the zip leads elsewhere; zip the file under its plain name")
        if member.flag_bits & 0x1:
            raise DataError("an encrypted zip; write it without a password")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError("a zip by another method than deflate; write it again")
        with archive.open(member) as stream:
            while piece := stream.read(_OUT_BYTES):
                yield piece


_DECODERS: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    "": _plain,
    ".zst": _zstd,
    ".gz": _gzip,
    ".bz2": _streams(bz2.BZ2Decompressor),
    ".xz": _streams(lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MAX_WINDOW_BYTES)),
    ".zip": _zip,
}
