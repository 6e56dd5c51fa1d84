"""Rotation of the master key: every data key is wrapped anew under the current version; no object is touched.

It may be stopped at any point and run again: what is there already is compared, not written. Old wrapped keys go only
when asked for, after *every* object has its new one, and each only once W endpoints that count were read to hold it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from operators.core.errors import AllCopiesDamaged, KeyMissing, QuorumLost
from operators.core.progress import Progress, no_progress
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.keyring import data_keys, masters_of, prove_keys
from operators.core.storage.records import Member, Record
from operators.core.storage.store import Store
from operators.core.storage.wrapping import WrappedKey, wrapped_key

SLICE_KEYS = 100
"""Keys that share one check of the endpoints' identities."""
_LISTED_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotated:
    """What a rotation came to."""

    master: int
    """The version under which every data key is wrapped now."""
    keys: int
    """Data keys that were found under other versions."""
    written: int
    """Copies of wrapped keys that were not there before, on all endpoints together."""
    dropped: int
    """Copies of old wrapped keys that were deleted."""
    behind: tuple[str, ...]
    """Endpoints that did not answer to all of it: bring them back and run it again, or resync them."""
    lost: tuple[str, ...]
    """Objects whose data key no endpoint gives; nothing is dropped then. Restore them from a backup."""


def rotate(store: Store, *, drop_old: bool = False, progress: Progress = no_progress) -> Rotated:
    """Have every data key of the store wrapped under the current master key, on W endpoints at least.

    Readers that hold older versions only can read what is there until the old wrapped keys are dropped.
    Cost: a look at each wrapped key on each endpoint, a few hundred bytes; about 150 MB of memory a million objects.

    Args:
        store: The store; its settings hold the old and the new master key, and its secret.
        drop_old: Delete the wrapped keys of all other versions afterwards.
        progress: Told of every slice, in keys.

    Raises:
        KeyMissing: The settings lack a master key that a data key is wrapped under, or are not this store's.
        QuorumLost: Too few endpoints answer; run it again.
    """
    keyring = store.vault.keyring
    if keyring is None:
        raise KeyMissing("the storage settings hold no master keys: nothing can be rotated with them")
    record = store.membership.read_record()
    prove_keys(store.membership, record, keyring)
    found = {version: sorted(_names(store, record, version)) for version in _old_versions(store, record)}
    names = sorted(set().union(*found.values()))
    rotation = _Rotation(store)
    rotation.wrap_all(names, progress)
    dropped = rotation.drop_all(found, progress) if drop_old and not rotation.lost else 0
    return Rotated(
        master=keyring.current,
        keys=len(names),
        written=rotation.written,
        dropped=dropped,
        behind=tuple(sorted(rotation.behind)),
        lost=tuple(sorted(rotation.lost)),
    )


class _Rotation:
    """The work on slices of names, and what it came to so far."""

    def __init__(self, store: Store) -> None:
        assert store.vault.keyring is not None
        self._members, self._keyring = store.membership, store.vault.keyring
        self.written = 0
        self.behind: set[str] = set()
        self.lost: set[str] = set()

    def wrap_all(self, names: list[str], progress: Progress) -> None:
        """Have every name's wrapped key under the current version."""
        done = 0
        for part, _ in zip(_slices(names), self._members.round.map(self._wrap, _slices(names)), strict=True):
            done += len(part)
            progress(done, len(names), "keys wrapped")

    def drop_all(self, found: dict[int, list[str]], progress: Progress) -> int:
        """Delete the wrapped keys of other versions, each slice's new ones read once more before; return the copies."""
        total, done, dropped = sum(map(len, found.values())), 0, 0
        for version, names in found.items():
            for part in _slices(names):
                dropped += self._delete([wrapped_key(version, name) for name in self._wrap(part)])
                done += len(part)
                progress(done, total, "keys dropped")
        return dropped

    def _wrap(self, names: list[str]) -> list[str]:
        """Have W endpoints that count hold wrapped keys under the current version; return the names that have them."""
        record = self._members.read_record()
        wanted = {name: wrapped for name in names if (wrapped := self._wrapped(record, name)) is not None}

        def hold(endpoint: Endpoint, line: Member) -> int:
            documents = {f"{line.incarnation}/{wrapped.key}": wrapped.encode() for wrapped in wanted.values()}
            missing = {key: data for key, data in documents.items() if endpoint.get(key) != data}
            for key, data in missing.items():
                endpoint.put(key, data)
            return len(missing)

        holders = self._members.ask_counted(record, hold)
        if len(holders) < record.acknowledge:
            raise QuorumLost(f"{sorted(holders)} hold the new keys, {record.acknowledge} endpoints must; run it again")
        self.written += sum(holders.values())
        self.behind |= set(record.names) - set(holders)
        return list(wanted)

    def _wrapped(self, record: Record, name: str) -> WrappedKey | None:
        try:
            return self._keyring.wrap(name, next(data_keys(self._members, record, self._keyring, name)))
        except AllCopiesDamaged:
            self.lost.add(name)
            return None

    def _delete(self, keys: list[str]) -> int:
        def delete(endpoint: Endpoint, line: Member) -> int:
            # A bucket that keeps versions would note the deletion of what is not there.
            held = [key for key in keys if endpoint.size(f"{line.incarnation}/{key}") is not None]
            for key in held:
                endpoint.delete(f"{line.incarnation}/{key}")
            return len(held)

        record = self._members.read_record()
        answers = self._members.ask_counted(record, delete)
        self.behind |= set(record.names) - set(answers)
        return sum(answers.values())


def _slices(names: list[str]) -> Iterator[list[str]]:
    return (names[at : at + SLICE_KEYS] for at in range(0, len(names), SLICE_KEYS))


def _old_versions(store: Store, record: Record) -> list[int]:
    assert store.vault.keyring is not None
    views = store.membership.ask_quorum(record, masters_of, "listing key/")
    return sorted({version for view in views.values() for version in view} - {store.vault.keyring.current})


def _names(store: Store, record: Record, version: int) -> set[str]:
    """Return the names that any endpoint that counts lists under a version."""

    def names(endpoint: Endpoint, line: Member) -> set[str]:
        top, found, after = f"{line.incarnation}/key/{version}/", set[str](), ""
        while page := endpoint.list(top, after=after, limit=_LISTED_AT_ONCE):
            found |= {listed.key.removeprefix(top) for listed in page}
            after = page[-1].key
        return found

    views = store.membership.ask_quorum(record, names, f"listing key/{version}/")
    return set().union(*views.values())
