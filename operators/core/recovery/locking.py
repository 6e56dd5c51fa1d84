"""What backups need, locked on their bucket: for a while nobody deletes it, whoever holds the credentials."""

from __future__ import annotations

from collections.abc import Callable

from operators.core.manifest import sha256_hex
from operators.core.progress import Progress, no_progress
from operators.core.recovery.inventory import PLATFORM
from operators.core.storage import Store
from operators.core.storage.endpoint import Listed
from operators.core.storage.locks import has_locks, lock_keys
from operators.core.storage.roots import Reached

LOCK_SECONDS = 64 * 86400.0
"""From the moment of a lock on. With a backup a night it is renewed in a quarter of that: nights may be missed."""
TURNS = 16
"""Of what was locked before, one such share is locked anew after each backup."""
NEW_SECONDS = 7 * 86400.0
"""What is younger is locked each time: a night that was missed leaves nothing open."""


def lock_needed(backup: Store, needs: Callable[[Store, Progress], Reached]) -> int:
    """Have what backups need locked on every endpoint that has object lock; return how many keys were, 0 without one.

    Args:
        backup: The backup store.
        needs: Says what the backups that are kept need, where anything can be locked; slots are locked beside it, for
            none is ever deleted.

    Raises:
        StorageError: A server does not lock what it said it can.
    """
    if not has_locks(backup.membership, backup.record):
        return 0
    reached = needs(backup, no_progress)
    head, now = backup.stream(PLATFORM).head(), backup.membership.clock()
    turn = 0 if head is None else head.generation % TURNS

    def is_meant(listed: Listed) -> bool:
        is_due = now - listed.modified < NEW_SECONDS or int(sha256_hex(listed.key.encode())[:8], 16) % TURNS == turn
        return is_due and _is_needed(listed.key, reached)

    return lock_keys(backup.membership, backup.record, is_meant, now + LOCK_SECONDS)


def _is_needed(key: str, reached: Reached) -> bool:
    kind, name = key.split("/", 1)[0], key.rsplit("/", 1)[1]
    if kind == "obj":
        return name in reached.objects
    if kind == "man":
        return name in reached.manifests
    if kind == "key":  # a wrapped key, by the name of what it opens, or what proves the settings' keys
        return name in reached.objects or name == "check"
    return key in reached.documents or kind in ("log", "run")
