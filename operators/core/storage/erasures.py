"""The erasures on record: rows that may not come back, and manifests whose files the collector may take.

One stream, append-only, read as a set: the order of its entries says nothing, so records of two stores can be joined.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from operators.core.errors import CommitUnknown, DataError
from operators.core.manifest import FORMAT, Made, Manifest, StageCall, canonical, check_digest
from operators.core.storage.graph import closure, sources
from operators.core.storage.holds import held
from operators.core.storage.listing import stream_names
from operators.core.storage.store import Store

STREAM = "erasures"
RELEASES = "release-"
"""Streams `release-<recipe>`: the newest entry of each is live."""
REVISION = 1
RECORD_NAME = "erasure.json"
_TRIES = 20


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class ErasedRow:
    """One row that may not come back. Nothing of its content is known here."""

    source: str
    """The source's folder in the landing zone."""
    day: str
    """Of arrival, `YYYY-MM-DD`: its partition."""
    id: str
    """As it is stored: what the policy made of it."""
    key: str
    """Name of the pseudonym key that the policy had, `key_id`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """One entry of the record."""

    reason: str
    """Why, in words that do not name the person."""
    by: str
    """Who asked for it here: a login."""
    rows: tuple[ErasedRow, ...] = ()
    forgotten: tuple[str, ...] = ()
    """Digests of manifests whose files need not be kept any more; the manifests stay, for they hold no row."""

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError(
                "an erasure needs a reason: which request it answers, in words that do not name the person"
            )

    def encode(self) -> bytes:
        """Return the bytes of the document, the same for equal erasures."""
        return canonical({"format": FORMAT, **asdict(self)})

    @classmethod
    def decode(cls, data: bytes) -> Erasure:
        """Read back what `encode` wrote.

        Raises:
            DataError: The bytes are no erasure of this format.
        """
        try:
            document = json.loads(data)
            if document.pop("format") != FORMAT:
                raise DataError(f"an erasure of another format than {FORMAT}: use the Nightshift release that wrote it")
            rows = tuple(ErasedRow(**row) for row in document.pop("rows"))
            forgotten = tuple(check_digest(digest) for digest in document.pop("forgotten"))
            return cls(rows=rows, forgotten=forgotten, **document)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"not an erasure: {type(error).__name__}") from None


def erasures(store: Store) -> dict[str, Erasure]:
    """Return every erasure on record by the digest of its manifest, oldest first.

    Raises:
        StorageError: One cannot be read: nobody may go on as if it were not there.
    """
    digests = [entry.manifest for entry in store.stream(STREAM).entries()]
    return {digest: Erasure.decode(store.read(store.manifest(digest).file(RECORD_NAME))) for digest in digests}


def erased_rows(store: Store) -> frozenset[ErasedRow]:
    """Return every row that may not come back."""
    return frozenset(row for erasure in erasures(store).values() for row in erasure.rows)


def forgotten(store: Store) -> frozenset[str]:
    """Return every manifest that an erasure forgot, whether its files are still there or not."""
    return frozenset(digest for erasure in erasures(store).values() for digest in erasure.forgotten)


def put_on_record(store: Store, erasure: Erasure) -> Erasure | None:
    """Have an erasure on record; return what of it was new there, None where nothing was.

    Raises:
        StorageError: The store does not take it; run again, it goes on.
    """
    stream = store.stream(STREAM)
    for _ in range(_TRIES):
        head = stream.head()
        known = erasures(store).values()
        new = replace(
            erasure,
            rows=tuple(sorted(set(erasure.rows).difference(*(one.rows for one in known)))),
            forgotten=tuple(sorted(set(erasure.forgotten).difference(*(one.forgotten for one in known)))),
        )
        if not new.rows and not new.forgotten:
            return None
        digest = store.put_manifest(_manifest(store, new))
        if stream.append(digest, head).manifest == digest:
            return new
    raise CommitUnknown(f"the record of erasures was busy {_TRIES} times in a row: run this again")


def copy_rows(source: Store, target: Store) -> None:
    """Have every row that may not come back to one store on the other's record too."""
    for erasure in erasures(source).values():
        put_on_record(target, replace(erasure, forgotten=()))


def _manifest(store: Store, erasure: Erasure) -> Manifest:
    now = datetime.datetime.fromtimestamp(store.membership.clock(), datetime.UTC)
    facts = {
        "rows": len(erasure.rows),
        "forgotten": len(erasure.forgotten),
        "at": now.isoformat(timespec="seconds"),
    }
    # Ids lie in the file, which is encrypted; a manifest is not.
    record = store.put_bytes(RECORD_NAME, erasure.encode())
    return Manifest.of(StageCall(stage="erasure", revision=REVISION), Made(files=(record,), facts=facts))


def live_releases(store: Store) -> dict[str, str]:
    """Return the digest of each recipe's live release, by the recipe's name."""
    streams = [name for name in stream_names(store) if name.startswith(RELEASES)]
    heads = {name.removeprefix(RELEASES): store.stream(name).head() for name in streams}
    return {recipe: head.manifest for recipe, head in heads.items() if head is not None}


def kept_by_holds(store: Store) -> dict[str, str]:
    """Return the reason of a hold by the digest of each manifest that one keeps, with all it reaches."""
    kept: dict[str, str] = {}
    for hold in held(store.membership, store.record):
        kept |= dict.fromkeys(closure(store, [hold.manifest]), hold.reason)
    return kept


def made_live(store: Store) -> dict[str, Manifest]:
    """Return what the live releases were made of, by digest."""
    return closure(store, live_releases(store).values(), follow=sources)


def gone(store: Store) -> frozenset[str]:
    """Return the manifests whose files are not kept: forgotten, and neither under a hold nor in what is live."""
    listed = forgotten(store)
    return listed - set(kept_by_holds(store)) - set(made_live(store)) if listed else listed


def still_kept(manifests: Mapping[str, Manifest], emptied: frozenset[str]) -> dict[str, Manifest]:
    """Return the manifests whose files are kept."""
    return {digest: manifest for digest, manifest in manifests.items() if digest not in emptied}
