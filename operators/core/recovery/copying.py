"""Copies between stores: what is there and good stays, what is copied is read back and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from operators.core.errors import AllCopiesDamaged
from operators.core.progress import Progress
from operators.core.storage import Store
from operators.core.storage.objects import get_object, put_object

_THREADS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """What a copy came to; every piece was read at the target and hashed, the new ones after they were written."""

    pieces: int
    size_bytes: int
    new_pieces: int
    new_bytes: int


def copy_all(source: Store, target: Store, pieces: Mapping[tuple[str, str], int], progress: Progress) -> Copied:
    """Have every piece at the target, verified there.

    Args:
        source: Where missing and damaged pieces come from.
        target: Where all of them will be.
        pieces: (kind, digest) to size in bytes; kinds are `obj` and `man`.
        progress: Told of every piece, in bytes.

    Raises:
        AllCopiesDamaged: A piece is good on neither side.
    """
    total, done, new_pieces, new_bytes = sum(pieces.values()), 0, 0, 0

    def copy(piece: tuple[str, str]) -> bool:
        return copy_one(source, target, *piece)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="copy") as pool:
        for (piece, size), is_new in zip(pieces.items(), pool.map(copy, pieces), strict=True):
            done += size
            new_pieces += is_new
            new_bytes += size * is_new
            progress(done, total, f"bytes, {'copied' if is_new else 'found'} {piece[0]}/{piece[1][:12]}")
    return Copied(pieces=len(pieces), size_bytes=total, new_pieces=new_pieces, new_bytes=new_bytes)


def copy_one(source: Store, target: Store, kind: str, digest: str) -> bool:
    """Have one piece at the target, verified there; return whether it had to be written."""
    try:
        get_object(target.membership, target.record, kind, digest)
        return False
    except AllCopiesDamaged:
        data = get_object(source.membership, source.record, kind, digest)
    put_object(target.membership, target.record, kind, digest, data)
    get_object(target.membership, target.record, kind, digest)
    return True


def verify_all(store: Store, pieces: Mapping[tuple[str, str], int], progress: Progress) -> list[str]:
    """Read and hash every piece; return those that no endpoint holds a good copy of, as `kind/digest`."""
    total, done = sum(pieces.values()), 0
    damaged: list[str] = []

    def is_good(piece: tuple[str, str]) -> bool:
        try:
            get_object(store.membership, store.record, *piece)
        except AllCopiesDamaged:
            return False
        return True

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="verify") as pool:
        for (piece, size), good in zip(pieces.items(), pool.map(is_good, pieces), strict=True):
            done += size
            damaged += [] if good else ["/".join(piece)]
            progress(done, total, f"bytes, read {piece[0]}/{piece[1][:12]}")
    return damaged
