"""A consistent cut of a store: every slot, and everything that what is kept reaches.

Streams are read before results: whatever a stream names was committed before, so its result is in the cut. What commits
meanwhile may be in it too; nothing in it names what is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from operators.core.manifest import Manifest
from operators.core.progress import Progress
from operators.core.recovery.inventory import Inventory, StreamEntry
from operators.core.storage import Entry, Store
from operators.core.storage.documents import read_all, read_document
from operators.core.storage.erasures import RELEASES, gone, still_kept
from operators.core.storage.graph import closure, objects
from operators.core.storage.listing import keys_below, result_digests, run_keys, stream_names
from operators.core.storage.roots import needed_entries


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """What a backup of the whole store is of."""

    inventory: Inventory
    manifests: Mapping[str, Manifest]
    """By digest: those that the inventory lists."""


def read_cut(store: Store, known: Inventory | None, progress: Progress) -> Cut:
    """Return the store as it is now.

    Args:
        store: The store.
        known: An earlier cut: slots and accounts that it lists never change and are not read again.
        progress: Told of what is read.

    Raises:
        AllCopiesDamaged: Something that is kept is lost in the store.
        QuorumLost: Too few endpoints answer.
    """
    streams = {name: _entries(store, name, known, progress) for name in _in_order(stream_names(store))}
    results = _results(store, known, progress)
    documents = _documents(store, known)
    needed = [
        entry.manifest
        for name, entries in streams.items()
        if name.removeprefix("checkpoint-") not in results
        for entry in needed_entries(name, entries)
    ]
    held = [key.rsplit("/", 1)[1] for key in documents if key.startswith("hold/")]
    manifests = closure(store, [*needed, *results.values(), *held], progress)
    emptied = gone(store) & set(manifests)
    inventory = Inventory(
        release=None,
        manifests=tuple(manifests),
        objects={digest: entry.stored_bytes for digest, entry in objects(still_kept(manifests, emptied)).items()},
        results=results,
        streams={
            name: tuple(StreamEntry(manifest=entry.manifest, previous=entry.previous) for entry in entries)
            for name, entries in streams.items()
        },
        forgotten=tuple(sorted(emptied)),
        documents=documents,
    )
    return Cut(inventory=inventory, manifests=manifests)


def _in_order(names: list[str]) -> list[str]:
    """Return streams in the order in which a restore writes them: what says what is live comes last."""
    return sorted(names, key=lambda name: (name.startswith(RELEASES), name))


def _entries(store: Store, name: str, known: Inventory | None, progress: Progress) -> list[Entry]:
    before = known.streams.get(name, ()) if known is not None else ()
    stream = store.stream(name)
    entries = stream.following([(entry.manifest, entry.previous) for entry in before])
    progress(len(entries), len(entries), f"entries of {name}")
    return entries


def _results(store: Store, known: Inventory | None, progress: Progress) -> dict[str, str]:
    keys = run_keys(store)
    results = {key: known.results[key] for key in keys if key in known.results} if known is not None else {}
    results |= result_digests(store, [key for key in keys if key not in results])
    progress(len(results), len(keys), "results looked up")
    return dict(sorted(results.items()))


def _documents(store: Store, known: Inventory | None) -> dict[str, str]:
    members, record = store.membership, store.record
    documents = {key: data.decode() for key, data in read_all(members, record, "hold").items()}
    keys = sorted(keys_below(members, record, "account/"))
    before = known.documents if known is not None else {}
    unknown = [key for key in keys if key not in before]
    read = members.round.map(lambda key: read_document(members, record, key), unknown)
    found = {key: data.decode() for key, data in zip(unknown, read, strict=True) if data is not None}
    return documents | {key: before[key] for key in keys if key in before} | found
