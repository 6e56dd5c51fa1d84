"""Small documents that carry their own SHA-256, so that a reader knows a rotten copy from another value.

A slot and a member record are not named by their bytes. They are stored as the document, a newline, and the SHA-256 of
the document in hexadecimal: still readable by eye and by `head -1 | sha256sum`.
"""

from __future__ import annotations

import hashlib


def with_sum(document: bytes) -> bytes:
    """Return what is stored."""
    return document + b"\n" + _sum_of(document)


def without_sum(stored: bytes) -> bytes | None:
    """Return the document, None where the bytes are not what was stored."""
    document, _, expected = stored.rpartition(b"\n")
    return document if expected == _sum_of(document) else None


def _sum_of(document: bytes) -> bytes:
    return hashlib.sha256(document).hexdigest().encode()
