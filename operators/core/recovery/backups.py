"""The platform's backups as a keeper of a kit sees them: which there are, which is meant, and what opens one."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from operators.core.errors import DataError
from operators.core.recovery.back_up_platform import STAGE, moment
from operators.core.recovery.escrow import Escrow
from operators.core.recovery.inventory import ESCROW_FILE, INVENTORY_FILE, PLATFORM
from operators.core.recovery.kit import RecoveryKit
from operators.core.signing import check_signature
from operators.core.storage import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One backup and when its cut was made."""

    backup: str
    at: str
    """UTC, ISO 8601."""
    is_kept: bool
    """Whether retention has left its inventory. It always leaves the newest's: where that is gone, it was lost."""


def moments(backup: Store) -> list[Moment]:
    """Return the platform's backups, oldest first; nothing of it needs a key."""
    found = []
    entries = backup.stream(PLATFORM).entries()
    for entry in entries:
        manifest = backup.manifest(entry.manifest)
        kept = entry == entries[-1] or backup.copies(manifest.file(INVENTORY_FILE)) > 0
        found.append(Moment(backup=entry.manifest, at=str(manifest.facts["at"]), is_kept=kept))
    return found


def choose(backup: Store, at: datetime.datetime | None = None) -> Moment:
    """Return the newest backup, or the newest whose cut is not after a moment.

    Raises:
        DataError: There is none; the message names those that there are.
    """
    kept = [one for one in moments(backup) if one.is_kept]
    limit = None if at is None else moment(at.timestamp())
    right = [one for one in kept if limit is None or one.at <= limit]
    if not right:
        there = f"the oldest is of {kept[0].at}" if kept else "the backup store holds none"
        raise DataError(f"no backup of the platform is of {limit or 'any time'} or before: {there}")
    return max(right, key=lambda one: one.at)


def unlock(backup: Store, digest: str, kit: RecoveryKit) -> Escrow:
    """Return the secrets of a backup, once it is known to be this platform's.

    Args:
        backup: The backup store, opened without keys.
        digest: The backup's manifest.
        kit: What its keeper has.

    Raises:
        DataError: It is no backup of a platform, or has no escrow.
        SignatureRefused: Another than this platform wrote it.
        KeyMissing: It is sealed for other keys than the kit's.
    """
    manifest = backup.manifest(digest)
    if manifest.stage != STAGE:
        raise DataError(f"{digest[:12]} is a {manifest.stage}, not a backup of the platform")
    check_signature(backup, digest, kit.trusted)
    sealed = [entry for entry in manifest.files if entry.name == ESCROW_FILE]
    if not sealed:
        raise DataError(
            f"backup {digest[:12]} holds no secrets: no recovery key was there when it was made. Its files open with "
            "the platform's own settings only"
        )
    return Escrow.decode(kit.open(backup.read(sealed[0])))
