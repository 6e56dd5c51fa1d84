"""The restore of the whole platform, or of what one of its names reaches: into an empty place, or into what is left.

Everything is checked before anything is written. Files and manifests come first, then results, then streams, of which
those that say what is live come last: what a killed restore leaves is a store in which nothing new is live, and the
next one goes on from there. What a store has that is younger than the backup stays: it is the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from operators.core.errors import DataError
from operators.core.progress import Progress, no_progress
from operators.core.recovery.back_up import pieces_of
from operators.core.recovery.back_up_platform import STAGE
from operators.core.recovery.copying import check_opens, copy_all
from operators.core.recovery.database import restore_database
from operators.core.recovery.inventory import DATABASE_FILE, INVENTORY_FILE, Inventory
from operators.core.recovery.settling import check_history, check_whole, settle_results, settle_streams
from operators.core.storage import Store
from operators.core.storage.documents import put_small
from operators.core.storage.erasures import Erasure, copy_rows, erased_rows, put_on_record, still_kept
from operators.core.storage.graph import closure, objects
from operators.core.storage.listing import result_digests

RESTORE = "restore"


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoredPlatform:
    """What a restore came to."""

    backup: str
    at: str
    """When the cut was made, UTC."""
    manifests: int
    objects: int
    size_bytes: int
    results: int
    streams: int
    written: int
    """Objects and manifests that were not there before."""
    written_bytes: int
    younger: tuple[str, ...]
    """Run keys of which the place held another result than the backup, and keeps it."""
    erased_rows: int
    database: bool


def restore_platform(
    backup: Store,
    target: Store,
    digest: str,
    *,
    only: str | None = None,
    database: Path | None = None,
    progress: Progress = no_progress,
    before_writing: Callable[[], object] = lambda: None,
) -> RestoredPlatform:
    """Have all that a backup lists, or what one name reaches, in the target, verified there; again: nothing changes.

    Args:
        backup: The store that holds the backup, with its keys.
        target: An initialised store: empty, or what is left of the one that was backed up.
        digest: The backup's manifest.
        only: A stream, or the digest of a manifest: that alone, with all it reaches. None for everything.
        database: Where Airflow's database goes; None leaves it in the backup.
        progress: Told of every object, in bytes: once while the backup is checked, once while it is written.
        before_writing: Called when everything was checked and nothing is written yet.

    Raises:
        AllCopiesDamaged: The backup is damaged; nothing was written.
        DataError: It is no backup of a platform, `only` is not in it, or the target has another history; nothing was
            written.
        KeyMissing: The backup's or the target's settings lack the keys of what is encrypted; nothing was written.
    """
    manifest = backup.manifest(digest)
    if manifest.stage != STAGE:
        raise DataError(f"{digest[:12]} is a {manifest.stage}, not a backup of the platform")
    listed = Inventory.decode(backup.read(manifest.file(INVENTORY_FILE)))
    inventory = listed if only is None else _part(backup, listed, only)
    manifests = check_whole(backup, inventory, progress)
    check_history(target, inventory)
    younger = _younger(target, inventory)
    pieces = pieces_of(inventory, manifests)
    check_opens(backup, target, pieces)
    saved = backup.read(manifest.file(DATABASE_FILE)) if database is not None else b""

    before_writing()
    copied = copy_all(backup, target, pieces, progress)
    erased = _settle(backup, target, digest, inventory, younger)
    if database is not None:
        restore_database(saved, database)
    return RestoredPlatform(
        backup=digest,
        at=str(manifest.facts["at"]),
        manifests=len(inventory.manifests),
        objects=len(inventory.objects),
        size_bytes=copied.size_bytes,
        results=len(inventory.results),
        streams=len(inventory.streams),
        written=copied.new_pieces,
        written_bytes=copied.new_bytes,
        younger=tuple(sorted(younger)),
        erased_rows=erased,
        database=database is not None,
    )


def has_sqlite(backup: Store, digest: str) -> bool:
    """Say whether a backup of the platform holds a SQLite database of Airflow's."""
    return any(entry.name == DATABASE_FILE for entry in backup.manifest(digest).files)


def _part(backup: Store, inventory: Inventory, only: str) -> Inventory:
    """Return what a stream or a manifest of an inventory reaches, as an inventory."""
    streams = {name: history for name, history in inventory.streams.items() if name == only}
    roots = [
        entry.manifest for history in streams.values() for entry in history if entry.manifest in inventory.manifests
    ]
    roots += [digest for digest in inventory.manifests if digest == only]
    if not roots:
        raise DataError(f"the backup has neither a stream nor a manifest {only!r}")
    manifests = closure(backup, roots)
    emptied = tuple(digest for digest in inventory.forgotten if digest in manifests)
    kept = objects(still_kept(manifests, frozenset(emptied)))
    return replace(
        inventory,
        manifests=tuple(manifests),
        objects={digest: entry.stored_bytes for digest, entry in kept.items()},
        results={key: digest for key, digest in inventory.results.items() if digest in manifests},
        streams=streams,
        forgotten=emptied,
        documents={},
    )


def _younger(target: Store, inventory: Inventory) -> set[str]:
    """Return the run keys of which the target has another result: somebody computed it anew after a loss."""
    there = result_digests(target, inventory.results)
    return {key for key, digest in there.items() if digest != inventory.results[key]}


def _settle(backup: Store, target: Store, digest: str, inventory: Inventory, younger: set[str]) -> int:
    """Have every document and slot in the target, the live releases last; return the rows that may not come back."""
    for key, text in inventory.documents.items():
        put_small(target.membership, target.record, key, text.encode())
    settle_results(target, {key: result for key, result in inventory.results.items() if key not in younger})
    settle_streams(target, inventory.streams)
    copy_rows(backup, target)
    if inventory.forgotten:
        put_on_record(
            target, Erasure(reason=f"restored from backup {digest}", by=RESTORE, forgotten=inventory.forgotten)
        )
    return len(erased_rows(target))
