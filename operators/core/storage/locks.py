"""Object lock: what must stay is locked where the probe found that a bucket can, and what was hidden is shown again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, runtime_checkable

from operators.core.errors import StorageError
from operators.core.storage.endpoint import Endpoint, EndpointAway, Listed
from operators.core.storage.members import Membership
from operators.core.storage.probe import read_report
from operators.core.storage.records import Member, Record
from operators.core.storage.versions import S3Versions

ONCE_WRITTEN = ("obj/", "man/", "key/", "run/", "log/", "wal/", "account/")
"""Below an incarnation, what is never written a second time with other bytes: the first version is the right one."""


@runtime_checkable
class Versioned(Protocol):
    """An endpoint that may keep versions."""

    name: str
    versions: S3Versions


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What came of showing what was hidden."""

    keys: int
    """Keys that show what was first written under them again."""
    left: tuple[str, ...]
    """Keys that still show another thing: it is locked itself."""


def lock_keys(membership: Membership, record: Record, is_meant: Callable[[Listed], bool], until: float) -> int:
    """Have keys locked on every endpoint that counts and whose last probe found object lock; return how many.

    Args:
        membership: The store's members.
        record: The record that rules.
        is_meant: Asked about each key, without its incarnation; what makes an endpoint a member is locked too.
        until: In seconds since 1970.

    Raises:
        StorageError: A server does not answer, or does not lock what it said it can.
    """

    def lock(endpoint: Endpoint, line: Member) -> int | EndpointAway:
        try:
            return lock_there(endpoint, line)
        except EndpointAway as away:
            return away

    def lock_there(endpoint: Endpoint, line: Member) -> int:
        if not (isinstance(endpoint, Versioned) and _can_lock(endpoint)):
            return 0
        prefix = f"{line.incarnation}/"
        listed = (one._replace(key=one.key.removeprefix(prefix)) for one in endpoint.list(prefix))
        keys = [f"{prefix}{one.key}" for one in listed if is_meant(one)]
        keys += ["identity.json", *(one.key for one in endpoint.list("member/"))]
        return sum(endpoint.versions.lock(key, until) for key in keys)

    locked = 0
    for answer in membership.ask_counted(record, lock).values():
        if isinstance(answer, EndpointAway):
            # An endpoint that is away is left out elsewhere; here nobody would hear that nothing is locked.
            raise StorageError(f"what backups need is not locked: {answer}") from answer
        locked += answer
    return locked


def has_locks(membership: Membership, record: Record) -> bool:
    """Say whether the last probe of any endpoint that counts found object lock."""
    return any(membership.ask_counted(record, lambda endpoint, line: _can_lock(endpoint)).values())


def _can_lock(endpoint: Endpoint) -> bool:
    report = read_report(endpoint)
    return report is not None and report.traits.get("object_lock") == "Enabled"


def show_first_versions(endpoint: Versioned) -> Shown:
    """Have every key that is written once show its first version: what was put over it is deleted, marks and versions.

    What a collection had deleted is back too, until the next one. Of the identity, which a resync writes anew, marks
    alone go.
    """
    keys, left = 0, []
    for key, group in groupby(endpoint.versions.below(""), key=lambda version: version.key):
        found = list(group)
        kept = [version for version in found if not version.is_mark]
        if key.startswith("member/") or key.partition("/")[2].startswith(ONCE_WRITTEN):
            kept = kept[-1:]
        elif key != "identity.json":
            continue
        over = [version for version in found if version not in kept]
        if over and kept:
            deleted = [endpoint.versions.delete(version) for version in over]
            keys += all(deleted)
            left += [] if all(deleted) else [key]
    return Shown(keys=keys, left=tuple(left))
