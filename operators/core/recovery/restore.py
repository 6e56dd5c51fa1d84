"""The restore controller: brings a backup into an empty place, under that place's own terms.

Everything is checked before anything is written: a damaged backup changes nothing. Erasures that are younger than the
backup are on record in the place afterwards: what it brought back is left out by the next run, and told of here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from operators.core.errors import DataError
from operators.core.progress import Progress, no_progress
from operators.core.recovery.back_up import pieces_of
from operators.core.recovery.copying import check_opens, copy_all
from operators.core.recovery.database import restore_database
from operators.core.recovery.inventory import DATABASE_FILE, INVENTORY_FILE, Inventory
from operators.core.recovery.settling import check_history, check_whole, settle_results, settle_streams
from operators.core.recovery.spec import BackUpSpec
from operators.core.storage import Store
from operators.core.storage.erasures import Erasure, copy_rows, erased_rows, put_on_record

RESTORE = "restore"
"""Who forgot, in the record of a place that was restored: whoever did so in the place before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What a restore came to."""

    backup: str
    release: str
    manifests: int
    objects: int
    size_bytes: int
    written: int
    """Objects and manifests that were not there before."""
    erased_rows: int = 0
    """Rows that may not come back; this backup may hold some of them, if it is older than their erasure."""


def latest_backup(backup: Store, recipe: str) -> str:
    """Return the digest of a recipe's newest backup.

    Raises:
        DataError: There is none.
    """
    head = backup.stream(BackUpSpec(recipe=recipe).stream).head()
    if head is None:
        raise DataError(f"the backup store holds no backup of {recipe!r}")
    return head.manifest


def restore_release(
    backup: Store, target: Store, digest: str, *, database: Path | None = None, progress: Progress = no_progress
) -> Restored:
    """Have everything that a backup lists in the target store, verified there; again: nothing changes.

    Args:
        backup: The store that holds the backup.
        target: An initialised store of any number of endpoints, empty or with a part of this backup.
        digest: The backup's manifest.
        database: Where Airflow's database goes; None leaves it in the backup.
        progress: Told of every object, in bytes: once while the backup is checked, once while it is written.

    Raises:
        AllCopiesDamaged: The backup is damaged; nothing was written.
        DataError: `digest` is no backup, or the target holds another history; nothing was written.
        KeyMissing: The backup's or the target's settings lack the keys of what is encrypted; nothing was written.
    """
    manifest = backup.manifest(digest)
    if manifest.stage != "back_up":
        raise DataError(f"{digest[:12]} is a {manifest.stage}, not a backup of a release")
    inventory = Inventory.decode(backup.read(manifest.file(INVENTORY_FILE)))
    if inventory.release is None:
        raise DataError(f"the inventory of backup {digest[:12]} names no release: use another backup")
    manifests = check_whole(backup, inventory, progress)
    check_history(target, inventory)
    pieces = pieces_of(inventory, manifests)
    check_opens(backup, target, pieces)
    saved = backup.read(manifest.file(DATABASE_FILE)) if database is not None else b""

    copied = copy_all(backup, target, pieces, progress)
    settle_results(target, inventory.results)
    settle_streams(target, inventory.streams)
    copy_rows(backup, target)
    if inventory.forgotten:
        put_on_record(
            target, Erasure(reason=f"restored from backup {digest}", by=RESTORE, forgotten=inventory.forgotten)
        )
    if database is not None:
        restore_database(saved, database)
    return Restored(
        backup=digest,
        release=inventory.release,
        manifests=len(inventory.manifests),
        objects=len(inventory.objects),
        size_bytes=copied.size_bytes,
        written=copied.new_pieces,
        erased_rows=len(erased_rows(target)),
    )
