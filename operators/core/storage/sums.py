"""Small documents that carry their own SHA-256, so that a reader knows a rotten or foreign copy from another value.

A slot and a member record are not named by their bytes. They are stored as the document, a newline, and the SHA-256 of
their key (below the incarnation), a newline and the document, in hexadecimal. So another key's document, which an
endpoint may show by mistake, does not pass for this one's.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from operators.core.errors import StorageError
from operators.core.manifest import FORMAT


def with_sum(key: str, document: bytes) -> bytes:
    """Return what is stored under a key."""
    return document + b"\n" + _sum_of(key, document)


def without_sum(key: str, stored: bytes) -> bytes | None:
    """Return the document, None where the bytes are not what was stored under this key."""
    document, _, expected = stored.rpartition(b"\n")
    return document if expected == _sum_of(key, document) else None


def fields_of(document: bytes, what: str) -> dict[str, Any]:
    """Return a document's fields, once it is of the format that this release reads and writes.

    Raises:
        StorageError: It is of another, older or newer one.
    """
    fields: dict[str, Any] = json.loads(document)
    if fields.pop("format", None) != FORMAT:
        raise StorageError(f"{what} has another format than {FORMAT}: use the Nightshift release that wrote it")
    return fields


def _sum_of(key: str, document: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + document).hexdigest().encode()
