"""Signed manifests: what one task of the platform says to another through a store that others may write to.

A signed manifest names, in its spec, the public key that it is to be checked with, and has the signature of everything
else that it says as a file. Ed25519 signatures follow from key and message, so a stage that signs stays pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from operators.core.errors import SignatureRefused
from operators.core.manifest import FileEntry, Made, Manifest, StageCall

if TYPE_CHECKING:
    from operators.core.storage import Store

SIGNATURE_NAME = "signature"
"""The file of 64 bytes, RFC 8032."""
SIGNED_BY = "signed_by"
"""The spec's field with the public key, in 64 hexadecimal digits: another key is another run key."""
_CONTEXT = b"nightshift manifest 1\n"
"""A signature under our key is of a manifest and of nothing else."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Holds the platform's private key; it is shown nowhere."""

    _seed: bytes = field(repr=False)
    """32 random bytes."""

    @property
    def public_key(self) -> str:
        """What the signatures are checked with, in 64 hexadecimal digits."""
        return self._key().public_key().public_bytes_raw().hex()

    def sign(self, store: Store, call: StageCall, made: Made) -> Made:
        """Return what was made with its signature among its files.

        Args:
            store: Takes the signature.
            call: Its spec holds this signer's public key under `SIGNED_BY`.
            made: What the manifest shall say.
        """
        assert call.spec[SIGNED_BY] == self.public_key
        signature = self._key().sign(_message(Manifest.of(call, made)))
        return replace(made, files=(*made.files, store.put_bytes(SIGNATURE_NAME, signature)))

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._seed)


def check_signature(store: Store, digest: str, trusted: Collection[str]) -> None:
    """Return if a manifest of the store says what a holder of a trusted key signed, to the letter.

    Args:
        store: The store.
        digest: The manifest's.
        trusted: Public keys, in hexadecimal digits.

    Raises:
        SignatureRefused: It is not signed, by none of these keys, or was changed since.
    """
    check_signed(store.manifest(digest), digest, store.read, trusted)


def check_signed(manifest: Manifest, digest: str, read: Callable[[FileEntry], bytes], trusted: Collection[str]) -> None:
    """Return if a manifest says what a holder of a trusted key signed; `read` gives the signature that it lists.

    Raises:
        SignatureRefused: It is not signed, by none of these keys, or was changed since.
    """
    found = [entry for entry in manifest.files if entry.name == SIGNATURE_NAME]
    if not found:
        raise SignatureRefused(
            f"the {manifest.stage} {digest[:12]} is not signed: it is from before Nightshift signed them, or somebody "
            f"else wrote it. Run the {manifest.stage} again"
        )
    signer = str(manifest.spec.get(SIGNED_BY))
    if signer not in trusted:
        raise SignatureRefused(
            f"the {manifest.stage} {digest[:12]} is signed by the key {signer[:12]}, trusted are "
            f"{sorted(key[:12] for key in trusted)}: after a change of keys run the {manifest.stage} again, or trust "
            "the former public key (docs/evaluation.md)"
        )
    if not _is_signed(manifest, signer, read(found[0])):
        raise SignatureRefused(
            f"the {manifest.stage} {digest[:12]} is not what the key {signer[:12]} signed: it was changed, or its "
            f"signature is another one's. Look who writes to the store, then run the {manifest.stage} again"
        )


def _is_signed(manifest: Manifest, signer: str, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer)).verify(signature, _message(manifest))
    except InvalidSignature:
        return False
    return True


def _message(manifest: Manifest) -> bytes:
    """Return what is signed: all that the manifest says but for the signature's own entry."""
    return _CONTEXT + replace(manifest, files=_unsigned(manifest.files)).encode()


def _unsigned(files: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
    return tuple(entry for entry in files if entry.name != SIGNATURE_NAME)
