"""The inventory of a backup: one document that lists all it holds, so that a restore knows what must be there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from operators.core.errors import DataError
from operators.core.manifest import FORMAT, canonical, check_digest
from operators.core.storage.roots import BACKUPS

INVENTORY_FILE = "closure.json"
DATABASE_FILE = "airflow.db.zst"
ESCROW_FILE = "escrow.json"
"""The platform's secrets, sealed for the recovery keys; the one file of a backup that the store's keys do not open."""
CODE_FILE = "code.tar.zst"
PLATFORM = BACKUPS
"""The stream of backups of the whole store, on the backup store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamEntry:
    """One generation of a stream, as its bytes say it."""

    manifest: str
    previous: str | None

    def encode(self) -> bytes:
        """Return the entry's bytes: equal on every store that holds it."""
        return canonical({"format": FORMAT, "manifest": self.manifest, "previous": self.previous})


@dataclass(frozen=True, kw_only=True, slots=True)
class Inventory:
    """Everything that a backup holds."""

    release: str | None
    """The release that it is a backup of; None where it is one of the whole store."""
    manifests: tuple[str, ...]
    """Digests, sorted."""
    objects: Mapping[str, int]
    """Stored digest to stored size, in bytes."""
    results: Mapping[str, str]
    """Run key to the digest of its result."""
    streams: Mapping[str, tuple[StreamEntry, ...]]
    """Entries by stream, oldest first; the streams in the order in which a restore writes them."""
    forgotten: tuple[str, ...] = ()
    """Those of the manifests whose files are left out: an erasure forgot them. Backups of before have none."""
    documents: Mapping[str, str] = field(default_factory=dict)
    """Holds and accounts by key, of a backup of the whole store."""

    def encode(self) -> bytes:
        """Return the document; equal inventories give equal bytes."""
        document = asdict(self)
        document["streams"] = [[name, [asdict(entry) for entry in entries]] for name, entries in self.streams.items()]
        return canonical({"format": FORMAT, **document})

    @classmethod
    def decode(cls, data: bytes) -> Inventory:
        """Read back what `encode` wrote.

        Raises:
            DataError: The bytes are no inventory of this format.
        """
        try:
            document = json.loads(data)
            if document.pop("format") != FORMAT:
                raise DataError(f"a backup of another format than {FORMAT}: use the Nightshift release that wrote it")
            document["streams"] = {
                name: tuple(StreamEntry(**entry) for entry in entries) for name, entries in document["streams"]
            }
            document["manifests"] = tuple(check_digest(digest) for digest in document["manifests"])
            document["forgotten"] = tuple(check_digest(digest) for digest in document.get("forgotten", ()))
            return cls(**document)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"not the inventory of a backup: {error}") from error
