"""Which backups hold given files, and since when: what an erasure cannot reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from operators.core.manifest import Manifest
from operators.core.recovery.back_up_platform import STAGE
from operators.core.recovery.inventory import INVENTORY_FILE, PLATFORM, Inventory
from operators.core.recovery.retention import RELEASE_BACKUPS
from operators.core.storage import Store
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.listing import stream_names
from operators.core.storage.objects import object_key
from operators.core.storage.records import Member


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldingBackup:
    """One backup that holds some of the files."""

    manifest: str
    recipe: str | None
    """None for a backup of the whole platform, which retention drops one day; those of a release are kept for ever."""
    day: str | None
    """Of the release in it."""
    written_at: float
    """Seconds since 1970, by the backup store's clock."""


def backups_holding(backup: Store, objects: Iterable[str]) -> list[HoldingBackup]:
    """Return every backup, oldest first, whose inventory lists one of these objects, by stored digest.

    Raises:
        StorageError: A backup's inventory cannot be read.
    """
    wanted = set(objects)
    found = []
    for name in stream_names(backup):
        if name.startswith(RELEASE_BACKUPS) or name == PLATFORM:
            for entry in backup.stream(name).entries():
                manifest = backup.manifest(entry.manifest)
                if wanted & _listed(backup, manifest):
                    day = manifest.facts.get("day")
                    found.append(
                        HoldingBackup(
                            manifest=entry.manifest,
                            recipe=None if name == PLATFORM else name.removeprefix(RELEASE_BACKUPS),
                            day=None if day is None else str(day),
                            written_at=_written_at(backup, entry.manifest),
                        )
                    )
    return found


def _listed(backup: Store, manifest: Manifest) -> set[str]:
    """Return the objects that a backup holds; none where retention dropped it."""
    inventory = manifest.file(INVENTORY_FILE)
    if manifest.stage == STAGE and backup.copies(inventory) == 0:
        return set()
    return set(Inventory.decode(backup.read(inventory)).objects)


def _written_at(backup: Store, digest: str) -> float:
    """Return when a manifest was first written, by the oldest of its copies."""
    key = object_key("man", digest)
    folder = key.removesuffix(digest)

    def modified(endpoint: Endpoint, line: Member) -> list[float]:
        listed = endpoint.list(f"{line.incarnation}/{folder}")
        return [found.modified for found in listed if found.key == f"{line.incarnation}/{key}"]

    answers = backup.membership.ask_counted(backup.record, modified).values()
    return min(moment for moments in answers for moment in moments)
