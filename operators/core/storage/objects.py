"""Immutable content, named by its SHA-256: put to all, counted when verified, read from any, always checked."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar, cast

from operators.core.errors import AllCopiesDamaged, QuorumLost, StorageError
from operators.core.storage.endpoint import Endpoint, EndpointAway
from operators.core.storage.members import Membership
from operators.core.storage.records import Member, Record
from operators.core.storage.sums import without_sum
from operators.core.storage.wrapping import decode_wrapped

SMALL_BYTES = 1024 * 1024
CONTENT = ("obj/", "man/", "key/")
SUMMED = ("run/", "log/", "member/", "hold/", "pin/", "tomb/", "wal/")
SLOW_SECONDS = 1.0
"""An endpoint that has not answered a read by then, or has sent less a second than below, is slow: the next one is
asked too. On a machine that is not overloaded few reads take so long."""
SLOW_BYTES_PER_SECOND = 32 * 1024**2
Found = TypeVar("Found")

log = logging.getLogger(__name__)


def object_key(kind: str, digest: str) -> str:
    """Return the key of a file (`obj`) or a manifest (`man`), below an incarnation."""
    return f"{kind}/{digest[:2]}/{digest}"


def is_content(key: str) -> bool:
    """Say whether a key (without its incarnation) tells its bytes from others: by their SHA-256, or by a checksum."""
    return key.startswith(CONTENT)


def named_hash(key: str) -> str | None:
    """Return the SHA-256 that a key (without its incarnation) promises of its bytes, None where it promises none."""
    return key.rsplit("/", 1)[1] if key.startswith(("obj/", "man/")) else None


def is_whole(key: str, data: bytes) -> bool:
    """Say whether bytes are what was once put under a key (without its incarnation), as far as they can tell."""
    if (digest := named_hash(key)) is not None:
        return hashlib.sha256(data).hexdigest() == digest
    if key.startswith("key/"):
        return decode_wrapped(key, data) is not None
    if key.startswith(SUMMED):
        return without_sum(key, data) is not None
    return True


def look_at(endpoint: Endpoint, line: Member, key: str) -> Literal["whole", "missing", "damaged"]:
    """Read and check an endpoint's copy of a key (without its incarnation); memory is bounded."""
    target = f"{line.incarnation}/{key}"
    if (digest := named_hash(key)) is not None:
        seen = endpoint.digest(target)
        return "missing" if seen is None else "whole" if seen == digest else "damaged"
    data = endpoint.get(target)
    return "missing" if data is None else "whole" if is_whole(key, data) else "damaged"


@dataclass(frozen=True, kw_only=True, slots=True)
class NewObject:
    """Bytes that endpoints shall hold."""

    kind: str
    """`obj` or `man`."""
    digest: str
    """SHA-256 of the bytes."""
    data: bytes | Path
    """The bytes, or the local file that holds them."""
    before: Mapping[str, bytes] = field(default_factory=dict)
    """What an endpoint must hold first, by key below its incarnation, for its copy to count."""


def put_objects(membership: Membership, record: Record, new: Sequence[NewObject]) -> set[str]:
    """Hold objects on every endpoint that answers; return the endpoints that count and verified all their copies.

    One after the other on each endpoint, whose identity is read once, when it holds all of them.

    Raises:
        QuorumLost: Fewer than W did.
    """

    def hold(endpoint: Endpoint, line: Member) -> bool:
        for one in new:
            _hold(endpoint, line, one)
        return True

    holders = set(membership.ask_counted(record, hold))
    if len(holders) < record.acknowledge:
        names = ", ".join(f"{one.kind}/{one.digest}" for one in new[:3])
        raise QuorumLost(f"{names}: verified on {sorted(holders)}, {record.acknowledge} endpoints must hold it")
    return holders


def _hold(endpoint: Endpoint, line: Member, one: NewObject) -> None:
    for name, content in one.before.items():
        endpoint.put(f"{line.incarnation}/{name}", content)
    key = f"{line.incarnation}/{object_key(one.kind, one.digest)}"
    # Looking costs a request: what is small is sent again rather than looked for.
    size = len(one.data) if isinstance(one.data, bytes) else one.data.stat().st_size
    if size <= SMALL_BYTES or endpoint.digest(key) != one.digest:
        endpoint.put(key, one.data)


def get_object(membership: Membership, record: Record, kind: str, digest: str) -> bytes:
    """Return verified bytes from the first endpoint that has them; a bad copy is reported and the next one asked.

    Raises:
        AllCopiesDamaged: Every endpoint answered and none holds a copy with this digest.
        QuorumLost: No good copy was found, but endpoints were away.
    """

    def look(endpoint: Endpoint, key: str) -> tuple[str, bytes] | None:
        data = endpoint.get(key)
        return None if data is None else (hashlib.sha256(data).hexdigest(), data)

    return _find_good(membership, record, kind, digest, look, SLOW_SECONDS)


def check_object(membership: Membership, record: Record, kind: str, digest: str, size: int) -> None:
    """Return once an endpoint's copy was read and is good; endpoints are asked, and errors raised, as above."""

    def look(endpoint: Endpoint, key: str) -> tuple[str, None] | None:
        seen = endpoint.digest(key)
        return None if seen is None else (seen, None)

    _find_good(membership, record, kind, digest, look, SLOW_SECONDS + size / SLOW_BYTES_PER_SECOND)


def fetch_object(membership: Membership, record: Record, kind: str, digest: str, size: int, path: Path) -> None:
    """Hold verified bytes at a local path, in bounded memory; endpoints are asked, and errors raised, as above.

    Args:
        membership: The store's members.
        record: The record that rules.
        kind: `obj` or `man`.
        digest: SHA-256 of the bytes.
        size: How many they are: what is large may take longer before the next endpoint is asked too.
        path: Where they go. What a slow endpoint had sent may be left beside it, in a folder of its own.
    """
    is_found = threading.Event()

    def look(endpoint: Endpoint, key: str) -> tuple[str, Path] | None:
        own = path.with_name(f"{path.name}.{endpoint.name}")
        try:
            with own.open("wb") as target:
                seen = endpoint.fetch(key, cast(BinaryIO, _Abandonable(target, is_found)))
        except OSError as error:
            raise _cannot_write(own, error) from error
        return None if seen is None else (seen, own)

    try:
        found = _find_good(membership, record, kind, digest, look, SLOW_SECONDS + size / SLOW_BYTES_PER_SECOND)
    finally:
        is_found.set()
    os.replace(found, path)


class _Abandonable:
    """A file that takes no more bytes once somebody else was faster."""

    def __init__(self, target: BinaryIO, is_found: threading.Event) -> None:
        self._target, self._is_found = target, is_found

    def write(self, data: bytes) -> int:
        if self._is_found.is_set():
            raise EndpointAway("another endpoint was faster")
        try:
            return self._target.write(data)
        except OSError as error:
            raise _cannot_write(Path(self._target.name), error) from error


def _cannot_write(path: Path, error: OSError) -> StorageError:
    """Return a failure of this machine, not of an endpoint: asking the next one would end the same."""
    return StorageError(f"cannot write {path}: {error.strerror}; make room there")


def _find_good(
    membership: Membership,
    record: Record,
    kind: str,
    digest: str,
    look: Callable[[Endpoint, str], tuple[str, Found] | None],
    seconds: float,
) -> Found:
    """Return what the first endpoint gave whose copy hashes to its name."""
    lines = {line.name: line for line in record.members if line.name in membership.endpoints}

    def ask(endpoint: Endpoint) -> tuple[str, Found] | None:
        return look(endpoint, f"{lines[endpoint.name].incarnation}/{object_key(kind, digest)}")

    away = 0
    for endpoint, seen in membership.round.hedge([membership.endpoints[name] for name in lines], ask, seconds):
        if isinstance(seen, EndpointAway):
            log.warning("%s; asking the next endpoint", seen)
            away += 1
        elif seen is not None and seen[0] == digest:
            return seen[1]
        elif seen is not None:
            log.error("endpoint %s holds a damaged copy of %s/%s: scrub it", endpoint.name, kind, digest)
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
