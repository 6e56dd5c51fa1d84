"""What every restore shares: a backup is checked whole before anything is written, and slots take what it lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from operators.core.errors import AllCopiesDamaged, DataError
from operators.core.manifest import FORMAT, Manifest, canonical
from operators.core.progress import Progress
from operators.core.recovery.back_up import pieces_of
from operators.core.recovery.copying import verify_all
from operators.core.recovery.inventory import Inventory, StreamEntry
from operators.core.storage import Store
from operators.core.storage.erasures import still_kept
from operators.core.storage.graph import closure, objects
from operators.core.storage.slots import put_once


def check_whole(backup: Store, inventory: Inventory, progress: Progress) -> Mapping[str, Manifest]:
    """Return the backup's manifests once each piece was read and hashed, and all that they name is listed.

    Raises:
        AllCopiesDamaged: A piece is missing or damaged; the first is named.
        DataError: The inventory lists another thing than its manifests name.
    """
    manifests = closure(backup, inventory.manifests)
    kept = objects(still_kept(manifests, frozenset(inventory.forgotten)))
    if set(manifests) != set(inventory.manifests) or set(kept) != set(inventory.objects):
        raise DataError("the backup's inventory does not list what its manifests name: use another backup")
    damaged = verify_all(backup, pieces_of(inventory, manifests), progress)
    if damaged:
        raise AllCopiesDamaged(
            f"the backup has no good copy of {len(damaged)} of its pieces, {damaged[0]} first; nothing was written: "
            "use another backup, or back up again while the store still has them"
        )
    return manifests


def check_history(target: Store, inventory: Inventory) -> None:
    """Return if the target's streams are the beginning of the backup's, or go on from them.

    Raises:
        DataError: One has another history.
    """
    for name, history in inventory.streams.items():
        there = target.stream(name).entries()
        for held, entry in zip(there, history, strict=False):
            if (held.manifest, held.previous) != (entry.manifest, entry.previous):
                raise DataError(
                    f"the target's stream {name} has another history from entry {held.generation} on: "
                    "restore into an empty place"
                )


def settle_results(target: Store, results: Mapping[str, str]) -> None:
    """Have every result in the target.

    Raises:
        DataError: The target holds another result of a run key.
    """
    for run_key, digest in results.items():
        _settle(target, f"run/{run_key}", canonical({"format": FORMAT, "manifest": digest}))


def settle_streams(target: Store, streams: Mapping[str, Sequence[StreamEntry]]) -> None:
    """Have every stream in the target, one after the other, oldest entries first.

    Raises:
        DataError: The target holds another entry.
    """
    for name, history in streams.items():
        for generation, entry in enumerate(history):
            _settle(target, f"log/{name}/{generation:020d}", entry.encode())


def _settle(target: Store, slot: str, data: bytes) -> None:
    if put_once(target.membership, slot, data) != data:
        raise DataError(f"the target holds another value at {slot}: restore into an empty place")
