"""How long backups of the platform are kept, and what those that are kept need of the backup store."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Sequence

from operators.core.progress import Progress, no_progress
from operators.core.recovery.base_backups import STREAM as DATABASE
from operators.core.recovery.inventory import INVENTORY_FILE, PLATFORM, Inventory
from operators.core.recovery.log_retention import needed_log
from operators.core.recovery.spec import RetentionSpec
from operators.core.storage import Store
from operators.core.storage.graph import closure, objects
from operators.core.storage.listing import stream_names
from operators.core.storage.roots import Reached, roots

RELEASE_BACKUPS = "backup-"
"""Streams of backups of releases, on the backup store: those are kept without end."""


def kept(moments: Sequence[str], spec: RetentionSpec) -> set[int]:
    """Return which of these backups are kept, by their place in the list.

    Args:
        moments: When each was made, as its manifest tells it.
        spec: How many are kept.
    """
    newest_first = sorted(range(len(moments)), key=lambda place: moments[place], reverse=True)
    keep = set(newest_first[:1])
    for count, pattern in (
        (spec.daily, "%Y-%m-%d"), (spec.weekly, "%G-%V"), (spec.monthly, "%Y-%m"), (spec.yearly, "%Y"),
    ):  # fmt: skip
        periods: dict[str, int] = {}
        for place in newest_first:
            periods.setdefault(datetime.datetime.fromisoformat(moments[place]).strftime(pattern), place)
        keep |= set(list(periods.values())[:count])
    return keep


def kept_backups(backup: Store, spec: RetentionSpec) -> list[str]:
    """Return the digests of the platform's backups that are kept, oldest first.

    Raises:
        AllCopiesDamaged: The manifest of a backup is lost: nobody can tell what it needs.
    """
    digests = [entry.manifest for entry in backup.stream(PLATFORM).entries()]
    keep = kept([str(backup.manifest(digest).facts["at"]) for digest in digests], spec)
    return [digest for place, digest in enumerate(digests) if place in keep]


def needed(backup: Store, spec: RetentionSpec, progress: Progress = no_progress) -> Reached:
    """Return what the backups that are kept need, with all else that the backup store has a reason to keep.

    A backup's own manifest stays for ever, so that a lost one is not taken for one that was dropped.

    Raises:
        StorageError: A manifest or an inventory of one that is kept cannot be read.
    """
    platform = {entry.manifest for entry in backup.stream(PLATFORM).entries()}
    releases = {
        entry.manifest
        for name in stream_names(backup)
        if name.startswith(RELEASE_BACKUPS)
        for entry in backup.stream(name).entries()
    }
    bases = {entry.manifest for entry in backup.stream(DATABASE).entries()}
    wanted = [digest for digest in roots(backup) if digest not in platform | bases]
    # A release's backup is a result: what it was made from is reached, as a manifest, on the backup store too.
    manifests = closure(backup, wanted, progress)
    stored = set(objects(manifests))
    digests = set(manifests) | platform | bases
    keep = kept_backups(backup, spec)
    for inventory, files in _inventories(backup, [*keep, *sorted(releases)]):
        digests |= set(inventory.manifests)
        stored |= {*inventory.objects, *files}
    log = needed_log(backup, keep, kept_backups(backup, dataclasses.replace(spec, weekly=0, monthly=0, yearly=0)))
    return Reached(manifests=frozenset(digests), objects=frozenset(stored | log.objects), documents=log.documents)


def _inventories(backup: Store, digests: Iterable[str]) -> Iterable[tuple[Inventory, list[str]]]:
    for digest in digests:
        manifest = backup.manifest(digest)
        files = [entry.stored_sha256 for entry in manifest.files]
        yield Inventory.decode(backup.read(manifest.file(INVENTORY_FILE))), files
