"""Sealed bytes: how a file is encrypted at rest. Pure functions; where the keys come from is `keyring`.

Format 1: the letters `NSE` and the byte 1, then the plaintext in chunks of 1 MiB (the last one may be shorter), each
under AES-256-GCM with its tag of 16 bytes behind it. A chunk's nonce is its number, 11 bytes, and one byte that is 1
for the last chunk and 0 for the others; the header is the associated data of every chunk. So a changed, swapped,
repeated or missing chunk does not open, and neither does a file cut at a chunk's border. (The STREAM construction of
Hoang, Reyhanitabar, Rogaway and Vizar, CRYPTO 2015.)

The nonces are the same for every file, and may be: a key seals one plaintext only, for it is derived from the
plaintext's SHA-256. Sealing the same plaintext again repeats the same bytes, which is what names them by their
content; it tells who sees both that they are equal, and nothing else. Whoever seals must therefore never use a key
for other bytes than those that it was derived from: `seal_file` proves that a file did not change meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from operators.core.errors import SourceChanged, StorageError

KEY_BYTES = 32
CHUNK_BYTES = 1024 * 1024
TAG_BYTES = 16
HEADER = b"NSE\x01"
"""What the first bytes say: ours, and the format."""

_PURPOSE = b"nightshift data key 1 "


class Readable(Protocol):
    """What pieces are read from: a binary file, local or in memory."""

    def read(self, size: int, /) -> bytes:
        """Return that many bytes, fewer only at the end."""


class SealBroken(StorageError):
    """Sealed bytes do not open: they or their key are not what was sealed."""

    retry_can_help = False


def derive_key(secret: bytes, sha256: str) -> bytes:
    """Return the data key of a plaintext: HKDF-SHA-256 of the store's secret, the plaintext's digest as its info."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=_PURPOSE + bytes.fromhex(sha256)).derive(secret)


def sealed_bytes(plain_bytes: int) -> int:
    """Return the size of a plaintext once it is sealed, in bytes."""
    return len(HEADER) + plain_bytes + TAG_BYTES * max(1, -(-plain_bytes // CHUNK_BYTES))


def seal(key: bytes, plain: Readable) -> Iterator[bytes]:
    """Yield the sealed form of everything that is read, piece by piece: at most three chunks are in memory."""
    cipher = AESGCM(key)
    yield HEADER
    for nonce, chunk in _chunks(plain, CHUNK_BYTES):
        yield cipher.encrypt(nonce, chunk, HEADER)


def unseal(key: bytes, sealed: Readable) -> Iterator[bytes]:
    """Yield the plaintext, chunk by chunk; each is authentic, but the whole is so only once the iteration has ended.

    Raises:
        SealBroken: A chunk or the end is not what was sealed under this key, or the format is unknown.
    """
    header = sealed.read(len(HEADER))
    if header != HEADER:
        raise SealBroken(f"sealed bytes begin with {header!r}, not with {HEADER!r}: damaged, or of a newer Nightshift")
    cipher = AESGCM(key)
    for nonce, chunk in _chunks(sealed, CHUNK_BYTES + TAG_BYTES):
        try:
            yield cipher.decrypt(nonce, chunk, HEADER)
        except InvalidTag:
            number = int.from_bytes(nonce[:-1], "big")
            raise SealBroken(f"chunk {number} of sealed bytes does not open: damaged, or another key's") from None


def seal_file(key: bytes, sha256: str, source: Path, target: Path) -> str:
    """Hold the sealed form of a local file in another and return the sealed form's SHA-256.

    Args:
        key: Derived from `sha256`.
        sha256: The source's digest, as it was read before.
        source: What to seal.
        target: Where to; whatever is there is replaced.

    Raises:
        SourceChanged: The source has another digest by now. Two plaintexts under one key would give both away, so what
            was sealed must not leave this machine; nothing is left at the target.
    """
    digest = hashlib.sha256()
    with source.open("rb") as plain, target.open("wb") as sealed:
        read = _Hashed(plain)
        for piece in seal(key, read):
            digest.update(piece)
            sealed.write(piece)
    if read.digest.hexdigest() != sha256:
        target.unlink()
        raise SourceChanged(f"{source} changed while it was put into the store: leave it alone until it is there")
    return digest.hexdigest()


def _chunks(file: Readable, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (nonce, chunk) for what is read; nothing at all is one empty chunk."""
    number, chunk = 0, file.read(size)
    while True:
        following = file.read(size) if len(chunk) == size else b""
        yield number.to_bytes(11, "big") + (b"\0" if following else b"\1"), chunk
        if not following:
            return
        number, chunk = number + 1, following


class _Hashed:
    """A file that hashes what is read from it."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        """Return that many bytes, fewer only at the end."""
        data = self._file.read(size)
        self.digest.update(data)
        return data
