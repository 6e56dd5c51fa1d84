"""Recovery keys: a pair whose public half stays with the platform, and the kit that its keeper has.

Sealed by HPKE (RFC 9180, X25519, HKDF-SHA-256, AES-256-GCM) as the cryptography library has it: whoever holds a public
key can seal for it, and only the kit opens.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from operators.core.errors import DataError, KeyMissing
from operators.core.manifest import FORMAT, canonical, sha256_hex
from operators.core.settings import StorageSettings

_CONTEXT = b"nightshift escrow 1\n"
"""What is sealed for a recovery key is an escrow and nothing else."""
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryKit:
    """What its keeper has: the private key, whose backups to believe, and where they lie."""

    private_key: str = field(repr=False)
    """X25519, 64 hexadecimal digits."""
    trusted: tuple[str, ...]
    """Public keys, hexadecimal, that a backup may be signed with; empty where none are signed."""
    backup: StorageSettings
    """The backup store, without the keys of what lies there: the escrow has those."""

    def __post_init__(self) -> None:
        if len(_hexadecimal(self.private_key)) != 32 or any(len(_hexadecimal(key)) != 32 for key in self.trusted):
            raise ValueError("recovery kit: its keys must be 64 hexadecimal digits each")

    @classmethod
    def new(cls, backup: StorageSettings, trusted: Iterable[str]) -> RecoveryKit:
        """Return a kit with a key that nobody had before."""
        secret = X25519PrivateKey.generate().private_bytes_raw().hex()
        return cls(private_key=secret, trusted=tuple(sorted(trusted)), backup=backup.without_keys())

    @property
    def public_key(self) -> str:
        """What escrows are sealed for, in 64 hexadecimal digits."""
        return self._key().public_key().public_bytes_raw().hex()

    def to_json(self) -> str:
        """Return the kit with its secrets, for a file of mode 0600."""
        backup = json.loads(self.backup.to_json())
        document = {"private_key": self.private_key, "trusted": self.trusted, "backup": backup}
        return json.dumps({"format": FORMAT, **document}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RecoveryKit:
        """Read back what `to_json` wrote.

        Raises:
            ValueError: It is no such document; the message never repeats the text.
        """
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise ValueError(f"a recovery kit of another format than {FORMAT}: use the release that wrote it")
            backup = StorageSettings.from_json(json.dumps(document["backup"]))
            return cls(private_key=document["private_key"], trusted=tuple(document["trusted"]), backup=backup)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"no recovery kit ({type(error).__name__})") from None

    def open(self, sealed: bytes) -> bytes:
        """Return what `seal` sealed.

        Raises:
            KeyMissing: It is not sealed for this kit's key.
            DataError: It is no escrow of this format, or was changed.
        """
        copies, own = _copies(sealed), fingerprint(self.public_key)
        if own not in copies:
            raise KeyMissing(f"the backup's secrets are sealed for {sorted(copies)}, this kit opens {own}: wrong kit")
        try:
            return _SUITE.decrypt(copies[own], self._key(), _CONTEXT)
        except (InvalidTag, ValueError):
            raise DataError(f"the copy of the backup's secrets for key {own} was changed: use another backup") from None

    def _key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(_hexadecimal(self.private_key))


def seal(plaintext: bytes, public_keys: Iterable[str]) -> bytes:
    """Return a document that each of several kits opens, and nobody else."""
    copies = {
        fingerprint(key): base64.b64encode(
            _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(bytes.fromhex(key)), _CONTEXT)
        ).decode()
        for key in public_keys
    }
    return canonical({"format": FORMAT, "sealed": copies})


def fingerprint(public_key: str) -> str:
    """Return the short name of a public key."""
    return sha256_hex(bytes.fromhex(public_key))[:16]


def _copies(sealed: bytes) -> Mapping[str, bytes]:
    try:
        document = json.loads(sealed)
        if document["format"] != FORMAT:
            raise DataError(f"an escrow of another format than {FORMAT}: use the Nightshift release that wrote it")
        return {name: base64.b64decode(copy) for name, copy in document["sealed"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"not an escrow: {type(error).__name__}") from None


def _hexadecimal(text: object) -> bytes:
    try:
        return bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return b""
