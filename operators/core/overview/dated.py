"""The newest entry of a stream, and when it got there: manifests hold no times, for they say what is true for ever."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operators.core.manifest import Manifest
from operators.core.storage import Entry, Store
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.records import Member


@dataclass(frozen=True, kw_only=True, slots=True)
class Dated:
    """A manifest of a stream, with the time at which it got there."""

    digest: str
    manifest: Manifest
    at: datetime.datetime | None
    """By the endpoints' clocks; None where none tells."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return the manifest's facts."""
        return self.manifest.facts

    @property
    def cut_at(self) -> datetime.datetime | None:
        """Return the moment that a backup is of, where the facts say one."""
        told = self.facts.get("at")
        return datetime.datetime.fromisoformat(told) if isinstance(told, str) else self.at


def read_newest(store: Store, stream: str) -> Dated | None:
    """Return the newest entry of a stream, None where it is empty.

    Raises:
        StorageError: The store does not tell.
    """
    head = store.stream(stream).head()
    if head is None:
        return None
    return Dated(digest=head.manifest, manifest=store.manifest(head.manifest), at=_written_at(store, head))


def instant(seconds: float) -> datetime.datetime:
    """Return a time that is given in seconds since 1970."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _written_at(store: Store, entry: Entry) -> datetime.datetime | None:
    """Return when an entry was first written: a copy that a resync made is younger."""
    folder = f"log/{entry.stream}/{entry.generation:020d}/"

    def written(endpoint: Endpoint, line: Member) -> float | None:
        return min((found.modified for found in endpoint.list(f"{line.incarnation}/{folder}")), default=None)

    times = store.membership.ask_counted(store.record, written).values()
    first = min((at for at in times if at is not None), default=None)
    return None if first is None else instant(first)
