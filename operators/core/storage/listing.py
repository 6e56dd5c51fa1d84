"""Listings for people: the manifests, run keys and streams that endpoints show; `find` and `head` tell the truth."""

from __future__ import annotations

from collections.abc import Iterable

from operators.core.storage.endpoint import Endpoint
from operators.core.storage.members import Membership
from operators.core.storage.records import Member, Record
from operators.core.storage.slots import read_slot
from operators.core.storage.store import Store
from operators.core.storage.sums import fields_of


def manifest_digests(store: Store, start: str = "") -> list[str]:
    """Return the digests of all manifests that begin with `start`, sorted.

    Raises:
        QuorumLost: Too few endpoints answer for the listing to be whole.
    """
    folder = f"man/{start[:2]}/" if len(start) >= 2 else "man/"
    return sorted({key.rsplit("/", 1)[1] for key in _keys(store, folder) if key.rsplit("/", 1)[1].startswith(start)})


def run_keys(store: Store, start: str = "") -> list[str]:
    """Return the run keys that have an entry and begin with `start`, sorted."""
    return sorted({key.split("/")[1] for key in _keys(store, "run/") if key.split("/")[1].startswith(start)})


def result_digests(store: Store, keys: Iterable[str]) -> dict[str, str]:
    """Return the digest of each of these run keys' results, of those that have one; the manifests are not read."""
    wanted = list(keys)
    slots = store.membership.round.map(lambda key: read_slot(store.membership, f"run/{key}"), wanted)
    found = {key: data for key, data in zip(wanted, slots, strict=True) if data is not None}
    return {key: str(fields_of(data, f"result {key}")["manifest"]) for key, data in found.items()}


def stream_names(store: Store) -> list[str]:
    """Return the names of all streams, sorted."""
    return sorted({key.split("/")[1] for key in _keys(store, "log/")})


def keys_below(membership: Membership, record: Record, folder: str) -> set[str]:
    """Return every key below a folder on any endpoint that counts, without the incarnation.

    Raises:
        QuorumLost: Too few endpoints answer for the listing to be whole.
    """

    def listed(endpoint: Endpoint, line: Member) -> list[str]:
        prefix = f"{line.incarnation}/"
        return [found.key.removeprefix(prefix) for found in endpoint.list(prefix + folder)]

    views = membership.ask_quorum(record, listed, f"listing {folder}")
    return {key for keys in views.values() for key in keys}


def _keys(store: Store, folder: str) -> set[str]:
    return keys_below(store.membership, store.record, folder)
