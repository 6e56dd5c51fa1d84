"""Copies between stores: what is there and good stays, what is copied is read back and hashed.

Bytes travel as they are stored, encrypted ones with their wrapped keys: none of it needs a key.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from operators.core.errors import AllCopiesDamaged, KeyMissing, StorageError
from operators.core.manifest import FileEntry, Manifest
from operators.core.progress import Progress
from operators.core.scratch import scratch_folder
from operators.core.storage import Store
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.graph import objects
from operators.core.storage.keyring import all_versions, data_keys, wrapped_keys
from operators.core.storage.listing import keys_below
from operators.core.storage.objects import NewObject, check_object, fetch_object, object_key, put_objects
from operators.core.storage.records import Member
from operators.core.storage.vault import is_sealed


class Piece(NamedTuple):
    """One thing that is copied or verified."""

    kind: str
    """`obj` or `man`."""
    digest: str
    is_sealed: bool = False
    """Whether it takes a key to open it: its wrapped keys go with it."""

    def __str__(self) -> str:
        return f"{self.kind}/{self.digest}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """What a copy came to; every piece was read at the target and hashed, the new ones after they were written."""

    pieces: int
    size_bytes: int
    new_pieces: int
    new_bytes: int


def object_pieces(manifests: Mapping[str, Manifest]) -> dict[Piece, int]:
    """Return every object that the manifests name, with its stored size in bytes."""
    return {piece_of(entry): entry.stored_bytes for entry in objects(manifests).values()}


def piece_of(entry: FileEntry) -> Piece:
    """Return the piece that holds a file."""
    return Piece("obj", entry.stored_sha256, is_sealed(entry))


def store_keys(pieces: Iterable[Piece], versions: Sequence[int]) -> list[str]:
    """Return the keys under which pieces lie, with their wrapped keys under each version of the master key."""
    keys = []
    for piece in pieces:
        keys.append(object_key(piece.kind, piece.digest))
        keys += [f"key/{version}/{piece.digest}" for version in versions] if piece.is_sealed else []
    return keys


def listed_pieces(source: Store, target: Store, pieces: Mapping[Piece, int]) -> set[Piece]:
    """Return the pieces that the target lists at W endpoints, of the right size, with every key that the source lists.

    Nothing is read: a listed copy may have rotted since it was last read.
    """
    wanted: dict[str, set[str]] = defaultdict(set)
    for key in keys_below(source.membership, source.record, "key/"):
        wanted[key.rsplit("/", 1)[1]].add(key)

    def listed(endpoint: Endpoint, line: Member) -> list[tuple[str, int]]:
        prefix = f"{line.incarnation}/"
        found = (one for kind in ("obj/", "man/", "key/") for one in endpoint.list(prefix + kind))
        return [(one.key.removeprefix(prefix), one.bytes) for one in found]

    views = target.membership.ask_counted(target.record, listed).values()
    held = Counter(one for view in views for one in view)
    keys = Counter(key for view in views for key, _ in view if key.startswith("key/"))

    def is_there(piece: Piece) -> bool:
        copies = [held[object_key(piece.kind, piece.digest), pieces[piece]]]
        copies += [keys[key] for key in wanted[piece.digest]] if piece.is_sealed else []
        return min(copies) >= target.record.acknowledge

    return {piece for piece in pieces if is_there(piece)}


def copy_all(source: Store, target: Store, pieces: Mapping[Piece, int], progress: Progress) -> Copied:
    """Have every piece at the target, verified there.

    Args:
        source: Where missing and damaged pieces come from.
        target: Where all of them will be.
        pieces: Their sizes in bytes; wrapped keys are not counted.
        progress: Told of every piece, in bytes.

    Raises:
        AllCopiesDamaged: A piece is good on neither side.
    """
    total, done, new_pieces, new_bytes = sum(pieces.values()), 0, 0, 0
    versions = all_versions(source.membership, source.record)
    target.keep(store_keys(pieces, versions))

    def copy(piece: Piece) -> bool:
        return _copy(source, target, piece, pieces[piece], versions)

    for (piece, size), is_new in zip(pieces.items(), target.membership.round.map(copy, pieces), strict=True):
        done += size
        new_pieces += is_new
        new_bytes += size * is_new
        progress(done, total, f"bytes, {'copied' if is_new else 'found'} {piece.kind}/{piece.digest[:12]}")
    return Copied(pieces=len(pieces), size_bytes=total, new_pieces=new_pieces, new_bytes=new_bytes)


def _copy(source: Store, target: Store, piece: Piece, size: int, versions: list[int]) -> bool:
    """Have one piece at the target, verified there; return whether something of it had to be written."""
    keys, held = _keys(source, piece, versions), _keys(target, piece, versions)
    if piece.is_sealed and not (keys or held):
        raise AllCopiesDamaged(f"{piece}: neither store holds its wrapped key; restore it from another backup")
    if keys.items() <= held.items() and _is_good(target, piece, size):
        return False
    with scratch_folder() as folder:
        path = folder / piece.digest
        fetch_object(source.membership, source.record, piece.kind, piece.digest, size, path)
        new = NewObject(kind=piece.kind, digest=piece.digest, data=path, before=keys)
        put_objects(target.membership, target.record, [new])
    check_object(target.membership, target.record, piece.kind, piece.digest, size)
    if not keys.items() <= _keys(target, piece, versions).items():
        raise StorageError(f"{piece}: its wrapped key does not read back as it was written; try again")
    return True


def _keys(store: Store, piece: Piece, versions: Iterable[int]) -> dict[str, bytes]:
    """Return the wrapped keys of a piece, none where it is not sealed or no endpoint has a whole one."""
    try:
        return wrapped_keys(store.membership, store.record, piece.digest, versions) if piece.is_sealed else {}
    except AllCopiesDamaged:
        return {}


def _is_good(store: Store, piece: Piece, size: int) -> bool:
    try:
        check_object(store.membership, store.record, piece.kind, piece.digest, size)
    except AllCopiesDamaged:
        return False
    return True


def verify_all(store: Store, pieces: Mapping[Piece, int], progress: Progress) -> list[str]:
    """Read and hash every piece; return those that no endpoint holds a good copy of, as `kind/digest`.

    A piece that is sealed needs a good wrapped key as well: one that the settings' master keys open, where there are.

    Raises:
        KeyMissing: The settings hold master keys, and none of them opens a piece.
    """
    total, done = sum(pieces.values()), 0
    damaged: list[str] = []
    versions = all_versions(store.membership, store.record)

    def is_good(piece: Piece) -> bool:
        return _is_good(store, piece, pieces[piece]) and (not piece.is_sealed or _has_key(store, piece, versions))

    for (piece, size), good in zip(pieces.items(), store.membership.round.map(is_good, pieces), strict=True):
        done += size
        damaged += [] if good else [str(piece)]
        progress(done, total, f"bytes, read {piece.kind}/{piece.digest[:12]}")
    return damaged


def _has_key(store: Store, piece: Piece, versions: Iterable[int]) -> bool:
    if store.vault.keyring is None:
        return bool(_keys(store, piece, versions))
    try:
        next(data_keys(store.membership, store.record, store.vault.keyring, piece.digest))
    except AllCopiesDamaged:
        return False
    return True


def check_opens(source: Store, target: Store, pieces: Iterable[Piece]) -> None:
    """Return if the target's settings can open what the source holds; one sealed piece speaks for all.

    Raises:
        KeyMissing: They cannot: what was copied could not be read there.
    """
    sealed = next((piece for piece in pieces if piece.is_sealed), None)
    if sealed is None:
        return
    if target.vault.keyring is None:
        raise KeyMissing(
            "what is to be copied is encrypted and the target's settings hold no keys: give them the store's"
        )
    next(data_keys(source.membership, source.record, target.vault.keyring, sealed.digest))
