"""What happens to a file between a stage and the endpoints: sealed on its way in, opened on its way out."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from operators.core.errors import DataError, KeyMissing
from operators.core.manifest import FileEntry, sha256_hex, sha256_of_file
from operators.core.scratch import scratch_folder
from operators.core.settings import EncryptionSettings
from operators.core.storage.keyring import Keyring, data_keys, prove_keys
from operators.core.storage.members import Membership
from operators.core.storage.records import Record
from operators.core.storage.sealing import CHUNK_BYTES, SealBroken, seal, seal_file, unseal

IN_MEMORY_BYTES = 16 * 1024**2
"""Files up to this size are read once and sealed in memory; larger ones are read twice and hashed both times."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A file as it goes to the endpoints."""

    entry: FileEntry
    data: bytes | Path
    """The bytes as stored, or the local file that holds them."""
    keys: Mapping[str, bytes] = field(default_factory=dict)
    """What must lie beside it, by key below an incarnation: its wrapped key, where it is sealed."""


class Vault:
    """Seals and opens with the keys of the settings; without keys, files are stored as they are."""

    def __init__(self, membership: Membership, settings: EncryptionSettings | None) -> None:
        self._membership = membership
        self.keyring = None if settings is None else Keyring(settings)
        self._proven = False
        self._lock = Lock()

    def prove(self, record: Record) -> None:
        """Return once it is known that these keys are the store's own; asked once in this object's life."""
        with self._lock:
            if self.keyring is not None and not self._proven:
                prove_keys(self._membership, record, self.keyring)
                self._proven = True

    def close_bytes(self, name: str, data: bytes, rows: int | None) -> Stored:
        """Return bytes as they are to be stored."""
        digest = sha256_hex(data)
        if self.keyring is None:
            return Stored(entry=_entry(name, digest, len(data), digest, len(data), rows), data=data)
        key = self.keyring.derive(digest)
        sealed = b"".join(seal(key, io.BytesIO(data)))
        return self._stored(_entry(name, digest, len(data), sha256_hex(sealed), len(sealed), rows), sealed, key)

    @contextmanager
    def close_file(self, name: str, path: Path, rows: int | None) -> Iterator[Stored]:
        """Give a local file as it is to be stored; its sealed form lies in the temporary folder during the block.

        Raises:
            SourceChanged: The file changed while it was sealed.
        """
        size = path.stat().st_size
        if self.keyring is not None and size <= IN_MEMORY_BYTES:
            yield self.close_bytes(name, path.read_bytes(), rows)
            return
        digest = sha256_of_file(path)
        if self.keyring is None:
            yield Stored(entry=_entry(name, digest, size, digest, size, rows), data=path)
            return
        key = self.keyring.derive(digest)
        with scratch_folder() as folder:
            sealed = folder / "sealed"
            stored = seal_file(key, digest, path, sealed)
            yield self._stored(_entry(name, digest, size, stored, sealed.stat().st_size, rows), sealed, key)

    def open(self, record: Record, entry: FileEntry, stored: BinaryIO) -> Iterator[bytes]:
        """Yield a file's plaintext; it is the file only once the iteration has ended without an error.

        Args:
            record: The record that rules.
            entry: The file.
            stored: Its bytes as stored, verified, from their beginning; sought back where a key does not open them.

        Raises:
            KeyMissing: The settings do not hold its master key.
            AllCopiesDamaged: No endpoint holds a wrapped key that opens it.
            DataError: It opens to other bytes than its entry says.
        """
        if not is_sealed(entry):
            while chunk := stored.read(CHUNK_BYTES):
                yield chunk
            return
        if self.keyring is None:
            raise KeyMissing(f"{entry.name} is encrypted and the storage settings hold no keys: use the store's own")
        digest = sha256()
        for chunk in self._unsealed(record, entry, stored, self.keyring):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != entry.sha256:
            raise DataError(f"{entry.name}: obj/{entry.stored_sha256} opens to other bytes than its manifest says")

    def _unsealed(self, record: Record, entry: FileEntry, stored: BinaryIO, keyring: Keyring) -> Iterator[bytes]:
        for key in data_keys(self._membership, record, keyring, entry.stored_sha256):
            stored.seek(0)
            chunks = unseal(key, stored)
            try:
                first = next(chunks)
            except SealBroken as error:
                # The bytes are those that were stored, so this endpoint's key is not the one they were sealed with.
                log.error("obj/%s: %s", entry.stored_sha256, error)
                continue
            yield first
            yield from chunks
            return

    def _stored(self, entry: FileEntry, data: bytes | Path, key: bytes) -> Stored:
        assert self.keyring is not None
        wrapped = self.keyring.wrap(entry.stored_sha256, key)
        return Stored(entry=entry, data=data, keys={wrapped.key: wrapped.encode()})


def is_sealed(entry: FileEntry) -> bool:
    """Say whether a file is stored encrypted: what was put before the store had keys is not."""
    return entry.stored_sha256 != entry.sha256


def _entry(name: str, digest: str, size: int, stored_digest: str, stored_size: int, rows: int | None) -> FileEntry:
    return FileEntry(
        name=name, sha256=digest, bytes=size, stored_sha256=stored_digest, stored_bytes=stored_size, rows=rows
    )
