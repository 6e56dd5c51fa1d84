"""Wrapped data keys: the small documents under `key/<master>/<sha256>` that say how an object is opened.

A data key, and with it the SHA-256 of the object's name, is wrapped by a master key with AES key wrap (RFC 3394). That
is deterministic, so that two writers of one object write the same document; and it is authentic, so that no object
can be given another's key. The document carries its own checksum: whether a copy is whole can be told without any
master key, as it can for objects and manifests.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from operators.core.errors import KeyMissing, StorageError
from operators.core.manifest import FORMAT, canonical, sha256_hex
from operators.core.storage.sealing import KEY_BYTES

CHECK_NAME = "check"
"""What is wrapped under this name belongs to no object: it tells whether settings hold the store's own keys."""

_KEY_PATTERN = re.compile(r"key/([1-9][0-9]{0,5})/([0-9a-f]{64}|check)")


class ForeignKey(StorageError):
    """A wrapped key lies under a name that it was not wrapped for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WrappedKey:
    """A data key, wrapped; safe to show and to copy."""

    master: int
    """Version of the master key that wrapped it."""
    name: str
    """Digest of the object as stored, or `check`."""
    wrapped: str
    """Hexadecimal, 72 bytes."""

    @property
    def key(self) -> str:
        """Return where it lies, below an incarnation."""
        return wrapped_key(self.master, self.name)

    def encode(self) -> bytes:
        """Return the document; equal keys give equal bytes."""
        return canonical({**self._document(), "sha256": sha256_hex(canonical(self._document()))})

    def _document(self) -> dict[str, object]:
        return {"format": FORMAT, "master": self.master, "name": self.name, "wrapped": self.wrapped}


def wrapped_key(master: int, name: str) -> str:
    """Return the key of a wrapped data key, below an incarnation."""
    return f"key/{master}/{name}"


def decode_wrapped(key: str, data: bytes | None) -> WrappedKey | None:
    """Return the wrapped key that lies under a key; None where the bytes are not whole, or another's."""
    place = _KEY_PATTERN.fullmatch(key)
    if place is None or data is None:
        return None
    try:
        found = WrappedKey(master=int(place[1]), name=place[2], wrapped=str(json.loads(data)["wrapped"]))
    except (ValueError, KeyError, TypeError):
        return None
    return found if found.encode() == data else None


def wrap(master: int, secret: bytes, name: str, data_key: bytes) -> WrappedKey:
    """Return a data key wrapped under a master key."""
    return WrappedKey(master=master, name=name, wrapped=aes_key_wrap(secret, data_key + _belongs_to(name)).hex())


def unwrap(secret: bytes, wrapped: WrappedKey) -> bytes:
    """Return the data key.

    Raises:
        KeyMissing: The master key is not the one that wrapped it; a damaged document does not even decode.
        ForeignKey: It was wrapped for another object.
    """
    try:
        content = aes_key_unwrap(secret, bytes.fromhex(wrapped.wrapped))
    except (InvalidUnwrap, ValueError):
        raise KeyMissing(
            f"{wrapped.key}: master key version {wrapped.master} of the settings is not the one that wrapped it; "
            "put the store's own key there"
        ) from None
    if content[KEY_BYTES:] != _belongs_to(wrapped.name):
        raise ForeignKey(f"{wrapped.key} was wrapped for another object: scrub it")
    return content[:KEY_BYTES]


def _belongs_to(name: str) -> bytes:
    return sha256(name.encode()).digest()
