"""Sealed originals open with the vault's key alone, each for its own pseudonym."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from operators.core.anonymisation.originals import (
    SealedOriginal,
    open_original,
    private_key,
    public_key,
    seal_originals,
    vault_key_id,
)
from operators.core.errors import DataError
from tests.core.vault import OTHER, PRIVATE, PUBLIC, pem_of


def _found(sealed: bytes, pseudonym: str) -> SealedOriginal:
    document = json.loads(sealed)
    data = base64.b64decode(document["sealed"][pseudonym])
    return SealedOriginal(pseudonym=pseudonym, manifest="", key=document["key"], sealed=data)


@given(st.dictionaries(st.sampled_from(["name_a", "id_b", "phone_c"]), st.text(max_size=20), min_size=1))
def test_what_is_sealed_opens_with_the_vault_s_key(originals: dict[str, str]) -> None:
    """For any originals: opening is the inverse of sealing, and the file says which key it needs."""
    sealed = seal_originals(originals, public_key(PUBLIC))

    assert {word: open_original(_found(sealed, word), PRIVATE) for word in originals} == originals
    assert _found(sealed, next(iter(originals))).key == vault_key_id(PRIVATE.public_key())


def test_another_key_opens_nothing() -> None:
    """Nor does an original open in another pseudonym's place."""
    sealed = seal_originals({"name_a": "Ada", "name_b": "Grace"}, public_key(PUBLIC))
    ada, grace = _found(sealed, "name_a"), _found(sealed, "name_b")
    swapped = SealedOriginal(pseudonym="name_a", manifest="", key=ada.key, sealed=grace.sealed)

    for found, key in ((ada, OTHER), (swapped, PRIVATE)):
        with pytest.raises(DataError, match="does not open"):
            open_original(found, key)


def test_the_file_tells_nothing_of_the_values() -> None:
    """No value stands in it, and equal values look different."""
    sealed = seal_originals({"name_a": "Ada Lovelace", "name_b": "Ada Lovelace"}, public_key(PUBLIC))

    assert b"Ada" not in sealed
    assert _found(sealed, "name_a").sealed != _found(sealed, "name_b").sealed


def test_keys_of_another_kind_are_refused_and_not_repeated() -> None:
    """A signing key, an encrypted key, no key at all: each message says what is wanted."""
    signing = Ed25519PrivateKey.generate()
    spki = signing.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    locked = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    for wrong in (spki, "not a key"):
        with pytest.raises(ValueError, match="must be X25519"):
            public_key(wrong)
    with pytest.raises(ValueError, match="is encrypted"):
        private_key(locked)
    with pytest.raises(ValueError, match="must be X25519") as caught:
        private_key(b"not a key")

    assert "not a key" not in str(caught.value)
    assert private_key(pem_of(PRIVATE)).private_bytes_raw() == PRIVATE.private_bytes_raw()
