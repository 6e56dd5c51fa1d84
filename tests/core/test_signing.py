"""Signatures of manifests."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from operators.core.manifest import Made, StageCall
from operators.core.signing import SIGNATURE_NAME, SIGNED_BY, check_signature
from operators.core.storage import Store
from tests.core.signers import SIGNER, TRUSTED


def test_signing_is_pure(store: Store) -> None:
    """The same key and the same words give the same manifest, so a retry that computes anew comes to the same."""
    call = StageCall(stage="gate", revision=1, spec={SIGNED_BY: SIGNER.public_key})
    made = Made(files=(store.put_bytes("a.json", b"[]"),), facts={"verdict": "passed"})
    digest = store.once(call, lambda: SIGNER.sign(store, call, made)).digest

    assert SIGNER.sign(store, call, made) == SIGNER.sign(store, call, made)
    assert len(store.read(store.manifest(digest).file(SIGNATURE_NAME))) == 64
    check_signature(store, digest, TRUSTED)


def test_the_public_key_is_that_of_the_library_and_the_private_one_is_not_shown() -> None:
    """RFC 8032's first key pair, test 1 of section 7.1; no repr has the seed."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    signer = type(SIGNER)(seed)

    assert signer.public_key == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signer.public_key == Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()
    assert seed.hex() not in repr(signer) and str(seed) not in repr(signer)
