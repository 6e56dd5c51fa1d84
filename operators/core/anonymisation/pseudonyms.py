"""Keyed, stable pseudonyms: one value, one word, without the key no way back and no way to test a guess."""

from __future__ import annotations

import hashlib
import hmac
import re

LETTERS = 10
"""Letters after the kind: 26^10 words, so two of a million values meet with probability 0.004."""
PSEUDONYM_PATTERN = re.compile(r"(?<![A-Za-z])(?:address|name|host|phone|ip|card|id)_[a-z]{10}(?![a-z])")
"""Every pseudonym that `pseudonym` makes. It holds no digit, dot or @, so no recogniser takes it for data again."""


def pseudonym(kind: str, value: str, key: bytes) -> str:
    """Return the word that stands for a value: `address_qhwkzlmvtb`, the same for the same value and key.

    Args:
        kind: What the value is: address, name, host, phone, ip, card or id.
        value: The value in its normal form; case is ignored.
        key: At least 16 secret bytes.

    Raises:
        ValueError: The key is too short to keep a guess from being tested.
    """
    if len(key) < 16:
        raise ValueError(f"the pseudonym key has {len(key)} bytes: at least 16 are needed")
    digest = hmac.digest(key, f"{kind}\0{value.casefold()}".encode("utf-8", "backslashreplace"), hashlib.sha256)
    number = int.from_bytes(digest, "big")
    letters = []
    for _ in range(LETTERS):
        number, letter = divmod(number, 26)
        letters.append(chr(ord("a") + letter))
    return f"{kind}_{''.join(letters)}"


def key_id(key: bytes) -> str:
    """Return a name for a key that tells nothing about it: part of run keys, so that a new key makes new data."""
    return hmac.digest(key, b"nightshift pseudonym key", hashlib.sha256).hex()[:16]
