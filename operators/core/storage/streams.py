"""Streams: numbered slots in a chain, for what happens in an order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from operators.core.errors import StorageError
from operators.core.manifest import FORMAT, canonical, check_digest, sha256_hex
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.members import Membership
from operators.core.storage.records import Member
from operators.core.storage.slots import put_once, read_slot

STREAM_PATTERN = re.compile(r"[a-z0-9_-]{1,96}")
_PAGE = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One generation of a stream."""

    stream: str
    generation: int
    """Counts from 0, without gaps."""
    manifest: str
    """Digest of the manifest that this generation names."""
    previous: str | None
    """SHA-256 of the entry before; None for the first."""
    sha256: str
    """SHA-256 of this entry's bytes."""


class Stream:
    """An append-only chain of manifests."""

    def __init__(self, membership: Membership, name: str, before_append: Callable[[], None] = lambda: None) -> None:
        """Name the stream.

        Args:
            membership: The store's members.
            name: 1 to 96 of a-z, 0-9, '_' and '-'.
            before_append: Raises where the writer may not commit any more.
        """
        if not STREAM_PATTERN.fullmatch(name):
            raise ValueError(f"stream name {name!r}: use 1 to 96 of a-z, 0-9, '_' and '-'")
        self._membership = membership
        self.name = name
        self._before_append = before_append

    def head(self) -> Entry | None:
        """Return the newest acknowledged entry, None where the stream is empty."""
        # A writer may be at the next generation right now: the listing is a hint, the slots are the truth.
        generation = self._newest()
        entry = self.at(generation)
        while entry is not None and (following := self.at(entry.generation + 1)) is not None:
            entry = following
        if entry is None and generation > 0:
            entry = self.at(generation - 1)
        return entry

    def entries(self) -> list[Entry]:
        """Return every entry, oldest first, the chain checked.

        Raises:
            StorageError: An entry does not name the one before it.
        """
        return self.following(())

    def following(self, known: Iterable[tuple[str, str | None]]) -> list[Entry]:
        """Return what `entries` does, but do not read those that are known: they never change.

        Args:
            known: Manifest and previous of the first entries, as they were acknowledged once.

        Raises:
            StorageError: As `entries`; also where the first entry that is read does not follow from the known ones.
        """
        entries: list[Entry] = []
        for manifest, previous in known:
            entries.append(self._entry(len(entries), _encode(manifest, previous)))
        while (entry := self.at(len(entries))) is not None:
            expected = entries[-1].sha256 if entries else None
            if entry.previous != expected:
                raise StorageError(f"stream {self.name}: entry {entry.generation} does not follow from the one before")
            entries.append(entry)
        return entries

    def written(self) -> float | None:
        """Return when the newest generation was first written, in seconds since 1970 by an endpoint's clock.

        None where nothing was. A copy that was mended later does not count as newer.
        """
        generation = self._newest()

        def times(endpoint: Endpoint, line: Member) -> list[float]:
            prefix = f"{line.incarnation}/{self._slot(generation)}/"
            return [found.modified for found in endpoint.list(prefix)]

        answers = self._membership.ask_counted(self._membership.read_record(), times)
        return min((moment for found in answers.values() for moment in found), default=None)

    def append(self, manifest: str, after: Entry | None) -> Entry:
        """Bring a manifest to the generation after `after` and return the entry that won it, yours or another's."""
        generation = after.generation + 1 if after else 0
        document = _encode(check_digest(manifest), after.sha256 if after else None)
        self._before_append()
        return self._entry(generation, put_once(self._membership, self._slot(generation), document))

    def _slot(self, generation: int) -> str:
        return f"log/{self.name}/{generation:020d}"

    def at(self, generation: int) -> Entry | None:
        """Return the entry of a generation, None where it has none yet."""
        data = read_slot(self._membership, self._slot(generation))
        return None if data is None else self._entry(generation, data)

    def _entry(self, generation: int, data: bytes) -> Entry:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise StorageError(f"stream {self.name}: entry {generation} has another format than {FORMAT}")
        return Entry(
            stream=self.name,
            generation=generation,
            manifest=document["manifest"],
            previous=document["previous"],
            sha256=sha256_hex(data),
        )

    def _newest(self) -> int:
        """Return the highest generation that any endpoint lists, 0 where none does; it may not be acknowledged."""

        def newest(endpoint: Endpoint, line: Member) -> int:
            return _last_generation(endpoint, f"{line.incarnation}/log/{self.name}/")

        return max(self._membership.ask_counted(self._membership.read_record(), newest).values(), default=0)


def _encode(manifest: str, previous: str | None) -> bytes:
    return canonical({"format": FORMAT, "manifest": manifest, "previous": previous})


def _last_generation(endpoint: Endpoint, prefix: str) -> int:
    """Return the last generation below a prefix, 0 where there is none: one request for a page, or a dozen small ones.

    Keys come in the order of generations, from wherever one asks. A page that is not full ends with the last one; else
    leaps that double pass it, and halves come close enough for the next page.
    """

    def listed(generation: int, limit: int) -> list[int]:
        page = endpoint.list(prefix, after=f"{prefix}{generation:020d}", limit=limit)
        return [int(found.key.removeprefix(prefix).split("/")[0]) for found in page]

    low, page = 0, listed(0, _PAGE)
    while len(page) == _PAGE and page[-1] > low:
        low, leap, high = page[-1], _PAGE, None
        while high is None or high - low > _PAGE:
            middle = low + leap if high is None else (low + high) // 2
            if found := listed(middle, 1):
                low, leap = found[0], 2 * leap
            else:
                high = middle
        page = listed(low, _PAGE)
    return page[-1] if page else 0
