"""What a store must keep: everything that a result, an entry of a stream or a hold reaches."""

from __future__ import annotations

from dataclasses import dataclass

from operators.core.errors import CollectionRefused
from operators.core.progress import Progress
from operators.core.storage.erasures import gone, still_kept
from operators.core.storage.graph import closure, objects
from operators.core.storage.holds import held
from operators.core.storage.listing import run_keys, stream_names
from operators.core.storage.store import Store
from operators.core.storage.streams import Entry

CHECKPOINTS = "checkpoint-"
"""Streams `checkpoint-<run key>`: the newest that they name are needed until the run key has its result."""
CHECKPOINTS_KEPT = 3
"""Of a training that is not done: one to go on from, and two to fall back to."""

BACKUPS = "platform"
"""A store with this stream holds backups of a platform: what they list is reached by no manifest of theirs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """Digests of what is kept."""

    manifests: frozenset[str]
    objects: frozenset[str]
    """As stored."""
    documents: frozenset[str] = frozenset()
    """Keys of those that name files of a log of PostgreSQL; only a backup store has any."""


def roots(store: Store) -> list[str]:
    """Return the manifests from which everything is reached that is kept; some stand there more than once."""
    done = {key: found.digest for key in run_keys(store) if (found := store.find(key)) is not None}
    wanted = list(done.values())
    for name in stream_names(store):
        if name.removeprefix(CHECKPOINTS) not in done:
            entries = store.stream(name).entries()
            wanted += [entry.manifest for entry in needed_entries(name, entries)]
    return wanted + [hold.manifest for hold in held(store.membership, store.record)]


def needed_entries(name: str, entries: list[Entry]) -> list[Entry]:
    """Return the entries of a stream that something may still be read from: of checkpoints the newest."""
    return entries[-CHECKPOINTS_KEPT:] if name.startswith(CHECKPOINTS) else entries


def reached(store: Store, progress: Progress) -> Reached:
    """Return what the store must keep: nothing where it has neither a result nor a stream.

    Raises:
        CollectionRefused: It is a backup store: what that must keep is told by its inventories.
    """
    if BACKUPS in stream_names(store):
        raise CollectionRefused(
            "this is a backup store: `back_up_platform` prunes it, or `nightshift gc --backup-store` on the platform"
        )
    manifests = closure(store, roots(store), progress)
    kept = still_kept(manifests, gone(store))
    return Reached(manifests=frozenset(manifests), objects=frozenset(objects(kept)))
