"""Keyed, stable pseudonyms: one value, one word, without the key no way back and no way to test a guess."""

from __future__ import annotations

import hashlib
import hmac
import re

LETTERS = 10
"""Letters after the kind: 26^10 words, so two of a million values meet with probability 0.004."""
KINDS = ("address", "name", "host", "phone", "ip", "card", "iban", "wallet", "nationalid", "id")
"""What a value can be."""
PSEUDONYM_PATTERN = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(KINDS)})_[a-z]{{{LETTERS}}}(?![a-z])")
"""Every pseudonym that `pseudonym` makes. It holds no digit, dot or @, so no recogniser takes it for data again."""
_DIGITS = re.compile(r"\d")
_WORDS = re.compile(r"\w+")


def pseudonym(kind: str, value: str, key: bytes) -> str:
    """Return the word that stands for a value: `address_qhwkzlmvtb`, the same for the same value and key.

    Args:
        kind: What the value is, one of `KINDS`.
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


def normal_form(kind: str, value: str) -> str:
    """Return a value as its pseudonym is made from it: numbers without marks, names word by word."""
    if kind in ("phone", "card"):
        return "".join(_DIGITS.findall(value)) or value
    if kind in ("iban", "nationalid"):
        return "".join(character for character in value if character.isalnum()) or value
    if kind == "name":
        return " ".join(word.casefold() for word in _WORDS.findall(value)) or value
    return value


def key_id(key: bytes) -> str:
    """Return a name for a key that tells nothing about it: part of run keys, so that a new key makes new data."""
    return hmac.digest(key, b"nightshift pseudonym key", hashlib.sha256).hex()[:16]
