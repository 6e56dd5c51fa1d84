"""Wrapped data keys: deterministic, whole or refused, under their own place only."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from operators.core.errors import KeyMissing
from operators.core.storage.objects import is_content, is_whole
from operators.core.storage.wrapping import ForeignKey, WrappedKey, decode_wrapped, unwrap, wrap

MASTER, DATA_KEY, DIGEST = bytes(32), bytes(range(32)), "ab" * 32


def wrapped_by_hand(secret: bytes, content: bytes) -> bytes:
    """Wrap as section 2.2.1 of RFC 3394 says, one AES block at a time."""
    cipher = Cipher(algorithms.AES(secret), modes.ECB()).encryptor()
    head, blocks = b"\xa6" * 8, [content[at : at + 8] for at in range(0, len(content), 8)]
    for turn in range(6):
        for number in range(len(blocks)):
            out = cipher.update(head + blocks[number])
            count = turn * len(blocks) + number + 1
            head, blocks[number] = (int.from_bytes(out[:8], "big") ^ count).to_bytes(8, "big"), out[8:]
    return head + b"".join(blocks)


def test_the_independent_wrap_is_that_of_rfc_3394() -> None:
    """The vector of section 4.6: 256 bits of key data with a 256-bit key."""
    secret = bytes.fromhex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F")
    data = bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
    expected = "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"

    assert wrapped_by_hand(secret, data).hex() == expected.lower()


def test_another_implementation_wraps_the_same_bytes() -> None:
    """The data key and the SHA-256 of the name, wrapped; the document around it is plain JSON."""
    document = json.loads(wrap(3, MASTER, DIGEST, DATA_KEY).encode())
    wrapped = wrapped_by_hand(MASTER, DATA_KEY + hashlib.sha256(DIGEST.encode()).digest()).hex()
    plain = {"format": 1, "master": 3, "name": DIGEST, "wrapped": wrapped}
    checksum = hashlib.sha256(json.dumps(plain, separators=(",", ":")).encode()).hexdigest()

    assert document == {**plain, "sha256": checksum}


def test_a_wrapped_key_reads_back_and_unwraps() -> None:
    """Two writers write equal bytes, and the data key comes back."""
    wrapped = wrap(3, MASTER, DIGEST, DATA_KEY)
    found = decode_wrapped(f"key/3/{DIGEST}", wrapped.encode())

    assert wrap(3, MASTER, DIGEST, DATA_KEY).encode() == wrapped.encode()
    assert found == wrapped
    assert unwrap(MASTER, wrapped) == DATA_KEY
    assert wrapped.key == f"key/3/{DIGEST}"


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_bit_more_or_less_is_seen_without_any_key(at: int, bit: int) -> None:
    """Scrub, resync and backup tell a rotten copy though they hold no master key."""
    data = bytearray(wrap(1, MASTER, DIGEST, DATA_KEY).encode())
    data[at % len(data)] ^= 1 << bit

    assert is_content(f"key/1/{DIGEST}")
    assert not is_whole(f"key/1/{DIGEST}", bytes(data))


@pytest.mark.parametrize(
    "key", [f"key/2/{DIGEST}", f"key/1/{'cd' * 32}", "key/1/check", f"key/01/{DIGEST}", "key/1/.."]
)
def test_a_wrapped_key_under_another_name_is_damaged(key: str) -> None:
    """The document says whose it is and under which master: moved elsewhere it does not count."""
    assert decode_wrapped(key, wrap(1, MASTER, DIGEST, DATA_KEY).encode()) is None


@pytest.mark.parametrize("data", [None, b"", b"{}", b"[]", b"null", b"\xff", b'{"wrapped": 1}'])
def test_what_is_no_wrapped_key_is_damaged(data: bytes | None) -> None:
    """Nothing, and nonsense, are refused without an exception."""
    assert decode_wrapped(f"key/1/{DIGEST}", data) is None


def test_another_master_key_is_named_and_not_shown() -> None:
    """The message says which version is wrong, and repeats no key."""
    wrapped = wrap(7, MASTER, DIGEST, DATA_KEY)
    with pytest.raises(KeyMissing, match="master key version 7 of the settings is not the one") as caught:
        unwrap(b"\x99" * 32, wrapped)

    assert "99999999" not in str(caught.value)


def test_a_document_that_is_whole_but_wraps_nothing_is_refused() -> None:
    """A checksum can be forged, a wrap cannot: no key comes out."""
    forged = WrappedKey(master=1, name=DIGEST, wrapped="00" * 72)
    with pytest.raises(KeyMissing):
        unwrap(MASTER, forged)


def test_an_object_cannot_be_given_another_s_key() -> None:
    """The wrap names its object: under another name, with a checksum made to fit, it gives no key."""
    moved = replace(wrap(1, MASTER, DIGEST, DATA_KEY), name="cd" * 32)
    assert decode_wrapped(moved.key, moved.encode()) == moved
    with pytest.raises(ForeignKey, match="wrapped for another object"):
        unwrap(MASTER, moved)
