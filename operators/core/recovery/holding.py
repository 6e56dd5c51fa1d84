"""Which backups hold given files, and since when: what an erasure cannot reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from operators.core.recovery.inventory import INVENTORY_FILE, Inventory
from operators.core.storage import Store
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.listing import stream_names
from operators.core.storage.objects import object_key
from operators.core.storage.records import Member

_BACKUPS = "backup-"


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldingBackup:
    """One backup that holds some of the files."""

    manifest: str
    recipe: str
    day: str | None
    """Of the release in it."""
    written_at: float
    """Seconds since 1970, by the backup store's clock. It is kept from then on: backups have no retention."""


def backups_holding(backup: Store, objects: Iterable[str]) -> list[HoldingBackup]:
    """Return every backup, oldest first, whose inventory lists one of these objects, by stored digest.

    Raises:
        StorageError: A backup's inventory cannot be read.
    """
    wanted = set(objects)
    found = []
    for name in stream_names(backup):
        if name.startswith(_BACKUPS):
            for entry in backup.stream(name).entries():
                manifest = backup.manifest(entry.manifest)
                inventory = Inventory.decode(backup.read(manifest.file(INVENTORY_FILE)))
                if wanted & set(inventory.objects):
                    day = manifest.facts.get("day")
                    found.append(
                        HoldingBackup(
                            manifest=entry.manifest,
                            recipe=name.removeprefix(_BACKUPS),
                            day=None if day is None else str(day),
                            written_at=_written_at(backup, entry.manifest),
                        )
                    )
    return found


def _written_at(backup: Store, digest: str) -> float:
    """Return when a manifest was first written, by the oldest of its copies."""
    key = object_key("man", digest)
    folder = key.removesuffix(digest)

    def modified(endpoint: Endpoint, line: Member) -> list[float]:
        listed = endpoint.list(f"{line.incarnation}/{folder}")
        return [found.modified for found in listed if found.key == f"{line.incarnation}/{key}"]

    answers = backup.membership.ask_counted(backup.record, modified).values()
    return min(moment for moments in answers for moment in moments)
