"""Originals of pseudonyms, for recipes that ask for a way back: sealed so that who seals them cannot open them.

Each is encrypted by itself under the vault's public key (HPKE of RFC 9180: X25519, HKDF-SHA-256, AES-256-GCM), bound to
its pseudonym: to open one shows one, and none can stand in another's place. The private key is in no Connection.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from operators.core.errors import DataError
from operators.core.manifest import canonical, sha256_hex
from operators.core.storage import Store
from operators.core.storage.listing import manifest_digests

ORIGINALS_NAME = "originals.json"
FORMAT = 1
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_PURPOSE = b"nightshift original 1 "


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedOriginal:
    """What stands behind one pseudonym, closed."""

    pseudonym: str
    manifest: str
    """Digest of the part that it lies beside."""
    key: str
    """Id of the vault key that opens it."""
    sealed: bytes


def public_key(pem: str) -> X25519PublicKey:
    """Return the vault's public key.

    Raises:
        ValueError: It is no X25519 public key in PEM.
    """
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError:
        key = None
    if not isinstance(key, X25519PublicKey):
        raise ValueError("the vault's public key must be X25519 in PEM: `openssl pkey -in vault.pem -pubout`")
    return key


def private_key(pem: bytes) -> X25519PrivateKey:
    """Return the vault's private key.

    Raises:
        ValueError: It is none in PEM, or one that is itself encrypted; the message does not repeat it.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("the vault's key is encrypted: give `<(openssl pkey -in vault.pem)` instead") from None
    except ValueError:
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise ValueError("the vault's key must be X25519 in PEM: `openssl genpkey -algorithm X25519`")
    return key


def vault_key_id(key: X25519PublicKey) -> str:
    """Return a name for a vault key, 16 hexadecimal digits."""
    return sha256_hex(key.public_bytes_raw())[:16]


def seal_originals(originals: Mapping[str, str], key: X25519PublicKey) -> bytes:
    """Return originals by pseudonym as the file that lies beside a part. Each sealing makes other bytes."""
    sealed = {
        word: base64.b64encode(_SUITE.encrypt(value.encode(), key, _PURPOSE + word.encode())).decode()
        for word, value in originals.items()
    }
    return canonical({"format": FORMAT, "key": vault_key_id(key), "sealed": sealed})


def find_original(store: Store, pseudonym: str) -> SealedOriginal | None:
    """Return what stands behind a pseudonym, from any part that has it; reads every manifest until one does."""
    for digest in manifest_digests(store):
        manifest = store.manifest(digest)
        for entry in manifest.files:
            # What was forgotten, or lies in the other store, has a manifest and no copies.
            if entry.name == ORIGINALS_NAME and store.copies(entry):
                document = json.loads(store.read(entry))
                if pseudonym in document["sealed"]:
                    sealed = base64.b64decode(document["sealed"][pseudonym])
                    return SealedOriginal(pseudonym=pseudonym, manifest=digest, key=document["key"], sealed=sealed)
    return None


def open_original(found: SealedOriginal, key: X25519PrivateKey) -> str:
    """Return the original.

    Raises:
        DataError: It is not what was sealed for this pseudonym under this key.
    """
    try:
        return _SUITE.decrypt(found.sealed, key, _PURPOSE + found.pseudonym.encode()).decode()
    except InvalidTag:
        raise DataError(f"the original of {found.pseudonym} does not open: damaged, or another pseudonym's") from None
