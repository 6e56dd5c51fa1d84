"""Sealed bytes: what opens, what must not, and that others would seal the same."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.errors import SourceChanged
from operators.core.manifest import sha256_hex, sha256_of_file
from operators.core.storage.sealing import (
    CHUNK_BYTES,
    HEADER,
    TAG_BYTES,
    SealBroken,
    derive_key,
    seal,
    seal_file,
    sealed_bytes,
    unseal,
)

SECRET = bytes(range(32))
KEY = bytes(range(100, 132))
SEALED_CHUNK = CHUNK_BYTES + TAG_BYTES
SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES - 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 7]


def content_of(size: int, seed: int = 0) -> bytes:
    """Return bytes that no two chunks have in common."""
    return Random(seed).randbytes(size)


def sealed(plain: bytes, key: bytes = KEY) -> bytes:
    """Seal in memory."""
    return b"".join(seal(key, io.BytesIO(plain)))


def opened(data: bytes, key: bytes = KEY) -> bytes:
    """Unseal in memory."""
    return b"".join(unseal(key, io.BytesIO(data)))


def sealed_by_hand(plain: bytes) -> bytes:
    """Seal as format 1 is described, out of the plain cipher and HMAC: nothing of the module is used."""

    def mac(key: bytes, data: bytes) -> bytes:
        code = hmac.HMAC(key, hashes.SHA256())
        code.update(data)
        return code.finalize()

    # RFC 5869 with one block of output and no salt.
    info = b"nightshift data key 1 " + hashlib.sha256(plain).digest()
    key = mac(mac(b"\0" * 32, SECRET), info + b"\x01")
    out = [b"NSE\x01"]
    count = max(1, (len(plain) + 2**20 - 1) // 2**20)
    for number in range(count):
        nonce = number.to_bytes(11, "big") + (b"\x01" if number == count - 1 else b"\x00")
        cipher = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
        cipher.authenticate_additional_data(b"NSE\x01")
        chunk = plain[number * 2**20 : (number + 1) * 2**20]
        out.append(cipher.update(chunk) + cipher.finalize() + cipher.tag)
    return b"".join(out)


@pytest.mark.parametrize("size", SIZES)
def test_another_implementation_seals_the_same_bytes(size: int) -> None:
    """Key derivation and layout, written out once more from primitives, agree byte for byte."""
    plain = content_of(size)

    assert sealed(plain, derive_key(SECRET, sha256_hex(plain))) == sealed_by_hand(plain)


def test_the_bytes_of_format_1_never_change() -> None:
    """A vector fixed for ever: stored objects depend on it."""
    plain = b"the night shift"

    assert derive_key(SECRET, sha256_hex(plain)).hex() == VECTOR_KEY
    assert sealed(plain, derive_key(SECRET, sha256_hex(plain))).hex() == VECTOR_SEALED


VECTOR_KEY = "464457c7a36070f9ecc4a9b268160df458ba7bbd12c3075fffda3402298736f9"
VECTOR_SEALED = "4e53450196c8592237867f397906d61b1ee15a1a1982435097cba43e83db73c6353853"


@settings(max_examples=25, deadline=None)
@given(
    near=st.sampled_from([0, CHUNK_BYTES, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES]),
    offset=st.integers(-40, 40),
    seed=st.integers(0, 255),
)
def test_what_is_sealed_opens(near: int, offset: int, seed: int) -> None:
    """Around every chunk's border the plaintext comes back, and the size is as foretold."""
    plain = content_of(max(0, near + offset), seed)
    data = sealed(plain)

    assert opened(data) == plain
    assert len(data) == sealed_bytes(len(plain))


def harms(data: bytes) -> dict[str, bytes]:
    """Return changed forms of three sealed chunks, by what was done."""
    chunks = [data[at : at + SEALED_CHUNK] for at in range(len(HEADER), len(data), SEALED_CHUNK)]
    first, second, last = chunks

    def joined(*parts: bytes) -> bytes:
        return HEADER + b"".join(parts)

    def flipped(part: bytes, at: int) -> bytes:
        return part[:at] + bytes([part[at] ^ 1]) + part[at + 1 :]

    return {
        "first chunk": joined(flipped(first, 17), second, last),
        "middle chunk": joined(first, flipped(second, CHUNK_BYTES // 2), last),
        "last chunk": joined(first, second, flipped(last, 0)),
        "a tag": joined(first, flipped(second, SEALED_CHUNK - 1), last),
        "chunks swapped": joined(second, first, last),
        "a chunk twice": joined(first, first, last),
        "a chunk gone": joined(first, last),
        "cut at a border": joined(first, second),
        "cut at the first border": joined(first),
        "only the header": HEADER,
        "cut inside a chunk": data[:-3],
        "cut inside a tag": data[: len(HEADER) + SEALED_CHUNK - 1],
        "more behind": data + b"\0",
        "a whole chunk behind": data + first,
    }


@pytest.mark.parametrize("harm", list(harms(sealed(content_of(2 * CHUNK_BYTES + 9)))))
def test_sealed_bytes_that_were_changed_do_not_open(harm: str) -> None:
    """Each chunk, its order, its number and the end are authentic; and the SHA-256 as stored tells each change too."""
    data = sealed(content_of(2 * CHUNK_BYTES + 9))
    changed = harms(data)[harm]

    with pytest.raises(SealBroken):
        opened(changed)
    assert sha256_hex(changed) != sha256_hex(data)


@pytest.mark.parametrize("size", [CHUNK_BYTES, 2 * CHUNK_BYTES])
def test_full_chunks_cut_at_a_border_do_not_open(size: int) -> None:
    """Also where the end is itself a border: the last chunk is marked."""
    with pytest.raises(SealBroken):
        opened(sealed(content_of(size + CHUNK_BYTES))[: sealed_bytes(size)])


def test_a_file_does_not_open_with_another_file_s_key() -> None:
    """Chunks of two files cannot be exchanged: each has its own key."""
    plain, other = content_of(10, 1), content_of(10, 2)
    with pytest.raises(SealBroken):
        opened(sealed(plain, derive_key(SECRET, sha256_hex(plain))), derive_key(SECRET, sha256_hex(other)))


@pytest.mark.parametrize("header", [b"NSE\x02", b"PAR1", b"NS", b""])
def test_an_unknown_format_is_named(header: bytes) -> None:
    """Another first byte than the formats known is refused with both headers in the message."""
    with pytest.raises(SealBroken, match="sealed bytes begin with"):
        opened(header + sealed(b"x")[len(header) :] if len(header) == 4 else header)


def test_two_stores_share_nothing() -> None:
    """The same plaintext under two secrets has two keys and two sealed forms."""
    plain = content_of(100)
    keys = [derive_key(secret, sha256_hex(plain)) for secret in (SECRET, SECRET[::-1])]

    assert sealed(plain, keys[0]) != sealed(plain, keys[1])


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_sealed_as_its_bytes_are(tmp_path: Path, size: int) -> None:
    """Through a local file the same bytes come out, with their digest."""
    plain = content_of(size)
    (tmp_path / "plain").write_bytes(plain)
    digest = seal_file(KEY, sha256_hex(plain), tmp_path / "plain", tmp_path / "sealed")

    assert (tmp_path / "sealed").read_bytes() == sealed(plain)
    assert digest == sha256_hex(sealed(plain))


def test_a_file_that_changes_under_the_seal_never_leaves(tmp_path: Path) -> None:
    """Two plaintexts under one key would give both away: refused, and nothing is left."""
    (tmp_path / "plain").write_bytes(b"after")
    with pytest.raises(SourceChanged, match="plain changed"):
        seal_file(KEY, sha256_hex(b"before"), tmp_path / "plain", tmp_path / "sealed")

    assert not (tmp_path / "sealed").exists()


def test_sealing_and_opening_hold_a_few_chunks_in_memory(tmp_path: Path) -> None:
    """Whatever the size of the file: twelve chunks pass through the memory of five."""
    (tmp_path / "plain").write_bytes(content_of(12 * CHUNK_BYTES))
    digest = sha256_of_file(tmp_path / "plain")
    tracemalloc.start()
    try:
        seal_file(KEY, digest, tmp_path / "plain", tmp_path / "sealed")
        with (tmp_path / "sealed").open("rb") as file:
            opened_bytes = sum(map(len, unseal(KEY, file)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert opened_bytes == 12 * CHUNK_BYTES
    assert peak < 5 * CHUNK_BYTES
