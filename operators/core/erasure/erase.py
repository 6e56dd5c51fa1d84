"""The erasure controller: finds what holds a subject, has its rows on record, forgets what nothing live needs.

Looking writes nothing. Run again, it finds nothing to do; killed anywhere, it goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from operators.core.erasure.holders import Lineage, State, trace
from operators.core.erasure.marks import Marks
from operators.core.erasure.search import IsWantedThere, LandingFile, Place, StoredFile, search_store
from operators.core.erasure.subject import Subject
from operators.core.progress import Progress
from operators.core.sources.spec import SourceSpec
from operators.core.storage import Store
from operators.core.storage.audit import Change, note, trail
from operators.core.storage.erasures import ErasedRow, Erasure, erased_rows, erasures, forgotten, put_on_record
from operators.core.storage.listing import keys_below, manifest_digests


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Where a subject's rows are, and all that was made of them."""

    rows: frozenset[ErasedRow]
    """In the store or in the landing zone."""
    unrecorded: frozenset[ErasedRow]
    """Those of them that ingestion does not leave out yet."""
    files: tuple[StoredFile, ...]
    landing: tuple[LandingFile, ...]
    unread: tuple[str, ...]
    """Landing files that could not be read, each with the reason."""
    other_keys: int
    """Stored files under pseudonyms of another key."""
    lineage: Lineage

    @property
    def is_nothing(self) -> bool:
        """Say whether the subject is nowhere."""
        return not self.rows and not self.landing

    @property
    def is_held_by_nothing(self) -> bool:
        """Say whether no file of the store holds the rows, nor anything that was made of them."""
        return not self.lineage.holders


class _Graph:
    """The store's manifests, and the objects that are there."""

    def __init__(self, store: Store) -> None:
        # As they are listed: what nothing reaches may name inputs that were collected before it.
        digests = manifest_digests(store)
        self.manifests = dict(zip(digests, store.membership.round.map(store.manifest, digests), strict=True))
        listed = keys_below(store.membership, store.record, "obj/")
        self.present = frozenset(key.rsplit("/", 1)[1] for key in listed)


def look_for(store: Store, places: Sequence[Place], subject: Subject, key: bytes, progress: Progress) -> Found:
    """Return where a subject is; nothing is written.

    First by value in the landing zone, then in the store by pseudonym and by the ids found, last in the landing zone
    by the ids that only the store knew.

    Args:
        store: The store.
        places: Every source, with its policy.
        subject: Who or what is looked for.
        key: The key of the pseudonyms.
        progress: Told of files read.
    """
    marks = [(place, Marks(subject, place.anonymiser)) for place in places]
    landed = {place: place.search(_is_named_by(mark, place.source), None, progress) for place, mark in marks}
    ids = {(row.source, row.day, row.id) for one in landed.values() for row in one.rows}
    graph = _Graph(store)
    stored = search_store(
        store,
        graph.manifests,
        graph.present,
        lambda source, day, row_id, text: (
            (source, day, row_id) in ids or any(mark.in_stored(day, row_id, text) for _, mark in marks)
        ),
        key,
        progress,
    )
    named = _landing_of(places, stored.rows, progress)
    rows = stored.rows.union(*(one.rows for one in landed.values()))
    files = {file.path: file for one in landed.values() for file in one.files}
    for file in named:
        numbers = {*file.rows, *(files[file.path].rows if file.path in files else ())}
        files[file.path] = replace(file, rows=tuple(sorted(numbers)))
    return Found(
        rows=rows,
        unrecorded=rows - erased_rows(store),
        files=stored.files,
        landing=tuple(files[path] for path in sorted(files)),
        unread=tuple(reason for one in landed.values() for reason in one.unread),
        other_keys=stored.other_keys,
        lineage=trace(store, graph.manifests, graph.present, [file.manifest for file in stored.files]),
    )


def look_for_recorded(store: Store, places: Sequence[Place], key: bytes, progress: Progress) -> Found:
    """Return where the rows on record still are, whoever they were about; nothing is written."""
    recorded = erased_rows(store)
    ids = {(row.source, row.day, row.id) for row in recorded}
    graph = _Graph(store)
    stored = search_store(
        store,
        graph.manifests,
        graph.present,
        lambda source, day, row_id, _: (source, day, row_id) in ids,
        key,
        progress,
    )
    roots = [file.manifest for file in stored.files]
    return Found(
        rows=recorded,
        unrecorded=frozenset(),
        files=stored.files,
        landing=_landing_of(places, recorded, progress),
        unread=(),
        other_keys=0,
        lineage=trace(store, graph.manifests, graph.present, {*roots, *forgotten(store)}),
    )


def look_again(store: Store, found: Found) -> Found:
    """Return what was found as it is now: what is on record since, what is live, held, forgotten and still there."""
    graph = _Graph(store)
    lineage = trace(store, graph.manifests, graph.present, found.lineage.made)
    return replace(found, unrecorded=found.rows - erased_rows(store), lineage=lineage)


def _landing_of(places: Iterable[Place], rows: frozenset[ErasedRow], progress: Progress) -> tuple[LandingFile, ...]:
    """Return the landing files that hold rows of these ids."""
    files: list[LandingFile] = []
    for place in places:
        ids = {(row.day, row.id) for row in rows if row.source == place.source.folder}
        files += place.search(_is_among(ids), {day for day, _ in ids}, progress).files
    return tuple(files)


def _is_named_by(mark: Marks, source: SourceSpec) -> IsWantedThere:
    return lambda day, _, row: mark.in_landing(day, row, source)


def _is_among(ids: set[tuple[str, str]]) -> IsWantedThere:
    return lambda day, row_id, _: (day, row_id) in ids


def put_rows_on_record(store: Store, backup: Store, found: Found, *, reason: str, by: str) -> None:
    """Have the rows on record: on the backup store first, so that no restore can miss what the store knows.

    Raises:
        ValueError: There is no reason.
        StorageError: One of the stores does not take it; run again, it goes on.
    """
    erasure = Erasure(reason=reason, by=by, rows=tuple(sorted(found.rows)))
    for place in (backup, store):
        put_on_record(place, erasure)
    note_erasures(store)


def forget_files(store: Store, found: Found, *, reason: str, by: str) -> int:
    """Let the collector have everything made of the rows, once none of it is live; return how many manifests.

    What is live, and what a hold keeps, is never forgotten. While any live release was made of the rows nothing is:
    there would be nothing left to roll back to.
    """
    if found.lineage.live:
        return 0
    kept = {holder.manifest for holder in found.lineage.holders if holder.state in (State.HELD, State.LIVE)}
    erasure = Erasure(reason=reason, by=by, forgotten=tuple(sorted(found.lineage.made - kept)))
    new = put_on_record(store, erasure)
    note_erasures(store)
    return len(new.forgotten) if new else 0


def note_erasures(store: Store) -> None:
    """Have every erasure on record on the audit trail, also one whose writer was killed before it said so."""
    noted = {entry.change.event for entry in trail(store)}
    for digest, erasure in erasures(store).items():
        event = f"erasure {digest}"
        if event not in noted:
            action = "erase" if erasure.rows else "forget"
            subject = f"{len(erasure.rows)} rows" if erasure.rows else f"{len(erasure.forgotten)} manifests"
            note(store, Change(action=action, subject=subject, by=erasure.by, event=event, detail=erasure.reason))
