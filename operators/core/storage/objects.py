"""Immutable content, named by its SHA-256: put to all, counted when verified, read from any, always checked."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from operators.core.errors import AllCopiesDamaged, QuorumLost
from operators.core.storage.endpoint import Endpoint, EndpointAway
from operators.core.storage.members import Membership
from operators.core.storage.records import Member, Record
from operators.core.storage.sums import without_sum
from operators.core.storage.wrapping import decode_wrapped

SMALL_BYTES = 1024 * 1024
CONTENT = ("obj/", "man/", "key/")

log = logging.getLogger(__name__)


def object_key(kind: str, digest: str) -> str:
    """Return the key of a file (`obj`) or a manifest (`man`), below an incarnation."""
    return f"{kind}/{digest[:2]}/{digest}"


def is_content(key: str) -> bool:
    """Say whether a key (without its incarnation) tells its bytes from others: by their SHA-256, or by a checksum."""
    return key.startswith(CONTENT)


def is_whole(key: str, data: bytes) -> bool:
    """Say whether bytes are what was once put under a key (without its incarnation), as far as they can tell."""
    if key.startswith(("obj/", "man/")):
        return hashlib.sha256(data).hexdigest() == key.rsplit("/", 1)[1]
    if key.startswith("key/"):
        return decode_wrapped(key, data) is not None
    if key.startswith(("run/", "log/", "member/")):
        return without_sum(key, data) is not None
    return True


def put_object(
    membership: Membership,
    record: Record,
    kind: str,
    digest: str,
    data: bytes | Path,
    before: Mapping[str, bytes] | None = None,
) -> set[str]:
    """Hold the bytes on every endpoint that answers; return those that count and verified their copy.

    Args:
        membership: The store's members.
        record: The record that rules.
        kind: `obj` or `man`.
        digest: SHA-256 of the bytes.
        data: The bytes, or the local file that holds them.
        before: What an endpoint must hold first, by key below its incarnation, for its copy to count.

    Raises:
        QuorumLost: Fewer than W did.
    """

    def hold(endpoint: Endpoint, line: Member) -> bool:
        for name, content in (before or {}).items():
            endpoint.put(f"{line.incarnation}/{name}", content)
        key = f"{line.incarnation}/{object_key(kind, digest)}"
        # Looking costs a request: what is small is sent again rather than looked for.
        if (isinstance(data, bytes) and len(data) <= SMALL_BYTES) or endpoint.digest(key) != digest:
            endpoint.put(key, data)
        return True

    holders = set(membership.ask_counted(record, hold))
    if len(holders) < record.acknowledge:
        raise QuorumLost(f"{kind}/{digest}: verified on {sorted(holders)}, {record.acknowledge} endpoints must hold it")
    return holders


def get_object(membership: Membership, record: Record, kind: str, digest: str) -> bytes:
    """Return verified bytes from the first endpoint that has them; a bad copy is reported and the next one asked.

    Raises:
        AllCopiesDamaged: Every endpoint answered and none holds a copy with this digest.
        QuorumLost: No good copy was found, but endpoints were away.
    """
    found: list[bytes] = []

    def look(endpoint: Endpoint, key: str) -> str | None:
        data = endpoint.get(key)
        if data is None:
            return None
        found[:] = [data]
        return hashlib.sha256(data).hexdigest()

    _find_good(membership, record, kind, digest, look)
    return found[0]


def fetch_object(membership: Membership, record: Record, kind: str, digest: str, path: Path) -> None:
    """Hold verified bytes at a local path, in bounded memory; endpoints are asked, and errors raised, as above."""
    _find_good(membership, record, kind, digest, lambda endpoint, key: endpoint.fetch(key, path))


def _find_good(
    membership: Membership, record: Record, kind: str, digest: str, look: Callable[[Endpoint, str], str | None]
) -> None:
    """Return once an endpoint's copy was looked at and hashes to its name."""
    away = 0
    for member in record.members:
        endpoint = membership.endpoints.get(member.name)
        try:
            seen = look(endpoint, f"{member.incarnation}/{object_key(kind, digest)}") if endpoint else None
        except EndpointAway as error:
            log.warning("%s; asking the next endpoint", error)
            away += 1
            continue
        if seen == digest:
            return
        if seen is not None:
            log.error("endpoint %s holds a damaged copy of %s/%s: scrub it", member.name, kind, digest)
    if away:
        raise QuorumLost(f"{kind}/{digest}: no good copy on the endpoints that answer, {away} are away; try again")
    raise AllCopiesDamaged(f"{kind}/{digest}: no endpoint holds a good copy; restore it from a backup")


def write_file(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Put bytes, or pieces of them as they come, at a local path in one step: whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.writelines([data] if isinstance(data, bytes) else data)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
