"""Large bodies in pieces: to a server in parts that it checks, from it in ranges that are hashed on the way.

What lies in memory is bounded, whatever the size. Hashing is done outside the thread that speaks to the servers.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

PART_BYTES = 16 * 1024**2
RANGE_BYTES = 8 * 1024**2
_PARTS_AT_ONCE = 3
_RANGES_AHEAD = 2
_MOST_PARTS = 10_000
"""S3's own limit."""

Ask = Callable[..., Awaitable[Any]]
"""`await ask(operation, size=bytes, repeat=bool, **arguments)`: one S3 request about the key, with all its tries."""


class Range(NamedTuple):
    """One range of an object."""

    data: bytes
    total: int
    """Size of the whole object."""


class _Part(NamedTuple):
    number: int
    etag: str
    digest: bytes
    is_checked: bool


def checksum(data: bytes) -> str:
    """Return the SHA-256 as S3 headers carry it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


async def upload(ask: Ask, path: Path) -> bool:
    """Hold a file under the key, in parts; return whether the server says that it checked all of them.

    What goes wrong leaves no upload behind that the server would keep for ever, if it can still be told.

    Raises:
        ValueError: The file was changed meanwhile; nothing was stored.
    """
    state = path.stat()
    size = state.st_size
    part_bytes = max(PART_BYTES, -(-size // _MOST_PARTS))
    made = await ask("create_multipart_upload", ChecksumAlgorithm="SHA256")
    upload_id = made["UploadId"]
    try:
        parts = await _send(ask, upload_id, path, size, part_bytes)
        knows_sums = made.get("ChecksumAlgorithm") == "SHA256"
        listed = [_listed(part, knows_sums) for part in parts]
        if (state.st_size, state.st_mtime_ns) != (path.stat().st_size, path.stat().st_mtime_ns):
            raise ValueError(f"{path} was changed while it was stored: finish it first, then put it")
        # Not repeated: after a lost reply the upload is gone and a second try would be told that it never was.
        done = await ask(
            "complete_multipart_upload", repeat=False, UploadId=upload_id, MultipartUpload={"Parts": listed}
        )
    except BaseException:
        await _abort(ask, upload_id)
        raise
    whole = f"{checksum(b''.join(part.digest for part in parts))}-{len(parts)}"
    return all(part.is_checked for part in parts) and done.get("ChecksumSHA256") == whole


def _listed(part: _Part, with_sum: bool) -> dict[str, Any]:
    """Return a part as the last request names it, with its checksum where the server keeps them."""
    listed = {"PartNumber": part.number, "ETag": part.etag}
    return listed | ({"ChecksumSHA256": base64.b64encode(part.digest).decode()} if with_sum else {})


async def _send(ask: Ask, upload_id: str, path: Path, size: int, part_bytes: int) -> list[_Part]:
    gate = asyncio.Semaphore(_PARTS_AT_ONCE)

    async def send(number: int) -> _Part:
        async with gate:
            data, digest = await asyncio.to_thread(_read, path, (number - 1) * part_bytes, part_bytes)
            text = base64.b64encode(digest).decode()
            answer = await ask(
                "upload_part", size=len(data), UploadId=upload_id, PartNumber=number, Body=data, ChecksumSHA256=text
            )
        return _Part(number, answer["ETag"], digest, answer.get("ChecksumSHA256") == text)

    tasks = [asyncio.ensure_future(send(number)) for number in range(1, -(-size // part_bytes) + 1)]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _abort(ask: Ask, upload_id: str) -> None:
    """Give the parts up. Where that fails too, the next large upload of any process finds them old."""
    try:
        await ask("abort_multipart_upload", UploadId=upload_id)
    except Exception:
        return


def _read(path: Path, start: int, count: int) -> tuple[bytes, bytes]:
    with path.open("rb") as source:
        source.seek(start)
        data = source.read(count)
    return data, hashlib.sha256(data).digest()


def download(begin: Callable[[int], Future[Range | None]], target: BinaryIO | None) -> str | None:
    """Return the SHA-256 of an object, its bytes written to `target` on the way; None where there is none.

    Args:
        begin: Starts to read a range, at its number; the result is None where the key is absent.
        target: Where the bytes go; None to hash only.

    Raises:
        ValueError: The ranges are not of one object: it was replaced meanwhile.
    """
    first = begin(0).result()
    if first is None:
        return None
    digest = hashlib.sha256()
    count = max(1, -(-first.total // RANGE_BYTES))
    ahead: deque[Future[Range | None]] = deque()
    try:
        piece: Range | None = first
        for number in range(count):
            while len(ahead) < _RANGES_AHEAD and number + len(ahead) + 1 < count:
                ahead.append(begin(number + len(ahead) + 1))
            if piece is None or piece.total != first.total:
                raise ValueError("it was replaced while it was read")
            digest.update(piece.data)
            if target is not None:
                target.write(piece.data)
            piece = ahead.popleft().result() if ahead else None
        return digest.hexdigest()
    finally:
        for future in ahead:
            future.cancel()
