"""The keys that settings hold, and where an object's own key is found on the endpoints."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from operators.core.errors import AllCopiesDamaged, KeyMissing, QuorumLost, StorageError
from operators.core.manifest import sha256_hex
from operators.core.settings import EncryptionSettings
from operators.core.storage.endpoint import Endpoint, EndpointAway
from operators.core.storage.members import Membership
from operators.core.storage.records import Member, Record
from operators.core.storage.sealing import derive_key
from operators.core.storage.wrapping import (
    CHECK_NAME,
    ForeignKey,
    WrappedKey,
    decode_wrapped,
    unwrap,
    wrap,
    wrapped_key,
)

log = logging.getLogger(__name__)


class Keyring:
    """The store's secret and its master keys; nothing of them is shown."""

    def __init__(self, settings: EncryptionSettings) -> None:
        self._masters = {master.version: bytes.fromhex(master.secret) for master in settings.masters}
        self._secret = None if settings.store_secret is None else bytes.fromhex(settings.store_secret)
        self.current = settings.current

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of the master key: the current one, then the others from the newest on."""
        return (self.current, *sorted(set(self._masters) - {self.current}, reverse=True))

    def derive(self, sha256: str) -> bytes:
        """Return the data key of a plaintext.

        Raises:
            KeyMissing: The settings are a reader's.
        """
        if self._secret is None:
            raise KeyMissing("these storage settings hold no store secret: files can be read with them, not written")
        return derive_key(self._secret, sha256)

    def wrap(self, name: str, data_key: bytes) -> WrappedKey:
        """Return a data key wrapped under the current master key."""
        return wrap(self.current, self._masters[self.current], name, data_key)

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """Return the data key.

        Raises:
            KeyMissing: That version is not held, or is another key.
            ForeignKey: It was wrapped for another object.
        """
        if wrapped.master not in self._masters:
            raise KeyMissing(_not_held(f"{wrapped.key} is", {wrapped.master}, self.versions))
        return unwrap(self._masters[wrapped.master], wrapped)


def data_keys(membership: Membership, record: Record, keyring: Keyring, name: str) -> Iterator[bytes]:
    """Yield an object's data key as one endpoint after the other has it; raise when no further one has.

    Args:
        membership: The store's members.
        record: The record that rules.
        keyring: The master keys.
        name: Digest of the object as stored.

    Raises:
        QuorumLost: No key did, but endpoints were away.
        KeyMissing: The settings lack the master key, or hold another under its number.
        AllCopiesDamaged: Every endpoint answered and none has a wrapped key that is whole.
    """
    away: list[str] = []
    wrong: KeyMissing | None = None
    for member in record.members:
        endpoint = membership.endpoints.get(member.name)
        try:
            found = None if endpoint is None else _find(endpoint, member, keyring.versions, name)
            if found is not None:
                yield keyring.unwrap(found)
        except EndpointAway as error:
            log.warning("%s; asking the next endpoint", error)
            away.append(member.name)
        except KeyMissing as error:
            wrong = error
        except ForeignKey as error:
            log.error("endpoint %s: %s", member.name, error)
    if away:
        hint = f" ({wrong})" if wrong else ""
        raise QuorumLost(f"obj/{name}: no endpoint that answers has its key{hint}, {away} are away; try again")
    others = versions_of(membership, record, name) - set(keyring.versions)
    if others:
        raise KeyMissing(_not_held(f"obj/{name}: its key is", others, keyring.versions))
    raise wrong or AllCopiesDamaged(f"obj/{name}: no endpoint holds a wrapped key that opens it; restore from a backup")


def _find(endpoint: Endpoint, line: Member, versions: tuple[int, ...], name: str) -> WrappedKey | None:
    """Return an object's wrapped key on one endpoint, under the first version that has a whole one."""
    for version in versions:
        key = wrapped_key(version, name)
        data = endpoint.get(f"{line.incarnation}/{key}")
        if (found := decode_wrapped(key, data)) is not None:
            return found
        if data is not None:
            log.error("endpoint %s holds a damaged copy of %s: scrub it", endpoint.name, key)
    return None


def wrapped_keys(membership: Membership, record: Record, name: str, versions: Iterable[int]) -> dict[str, bytes]:
    """Return an object's wrapped keys as they are stored, by key below an incarnation; one of each version there is.

    No master key is needed: each is checked by its own checksum.

    Raises:
        AllCopiesDamaged: No endpoint holds one that is whole.
        QuorumLost: Nor does any that answers, but some were away.
    """
    found: dict[str, bytes] = {}
    away: set[str] = set()
    for version in versions:
        key = wrapped_key(version, name)
        for member in record.members:
            try:
                endpoint = membership.endpoints.get(member.name)
                data = None if endpoint is None else endpoint.get(f"{member.incarnation}/{key}")
            except EndpointAway as error:
                log.warning("%s; asking the next endpoint", error)
                away.add(member.name)
                continue
            if data is not None and decode_wrapped(key, data) is not None:
                found[key] = data
                break
    if not found and away:
        raise QuorumLost(f"obj/{name}: no endpoint that answers has its key, {sorted(away)} are away; try again")
    if not found:
        raise AllCopiesDamaged(f"obj/{name}: no endpoint holds its wrapped key; restore it from a backup")
    return found


def all_versions(membership: Membership, record: Record) -> list[int]:
    """Return the versions of the master key under which any endpoint that counts holds wrapped keys."""
    return sorted({version for found in membership.ask_counted(record, masters_of).values() for version in found})


def masters_of(endpoint: Endpoint, line: Member) -> list[int]:
    """Return the versions under which an endpoint holds wrapped keys; one request a version, whatever it holds."""
    top, versions = f"{line.incarnation}/key/", list[int]()
    while found := endpoint.list(top, after=f"{top}{versions[-1]}/~" if versions else "", limit=1):
        versions.append(int(found[0].key.removeprefix(top).split("/")[0]))
    return versions


def versions_of(membership: Membership, record: Record, name: str) -> set[int]:
    """Return the versions of the master key that any endpoint that counts holds an object's key under."""

    def held(endpoint: Endpoint, line: Member) -> set[int]:
        found = ((version, wrapped_key(version, name)) for version in masters_of(endpoint, line))
        return {version for version, key in found if endpoint.size(f"{line.incarnation}/{key}") is not None}

    return set().union(*membership.ask_counted(record, held).values())


def prove_keys(membership: Membership, record: Record, keyring: Keyring) -> None:
    """Return once W endpoints hold this keyring's `check`, made now where the store has none.

    A writer with another key under a number that is taken would spoil what others wrote: it learns so here.

    Raises:
        KeyMissing: The store's keys are others, or the settings are a reader's.
        QuorumLost: Fewer than W endpoints answer.
    """
    expected = keyring.derive(sha256_hex(CHECK_NAME.encode()))
    mine = keyring.wrap(CHECK_NAME, expected)

    def hold(endpoint: Endpoint, line: Member) -> StorageError | None:
        try:
            _compare(endpoint, line, keyring, expected)
        except (KeyMissing, ForeignKey) as error:
            return error
        key = f"{line.incarnation}/{mine.key}"
        held = endpoint.get(key)
        if held is None:
            endpoint.put_if_absent(key, mine.encode())
        elif decode_wrapped(mine.key, held) is None:
            endpoint.put(key, mine.encode())
        return (
            None if endpoint.get(key) == mine.encode() else EndpointAway(f"endpoint {endpoint.name} lacks {mine.key}")
        )

    answers = membership.ask_counted(record, hold)
    holders = sorted(name for name, refusal in answers.items() if refusal is None)
    if len(holders) < record.acknowledge:
        # One endpoint that says otherwise may be damaged; where too few agree, the keys are others.
        for refusal in answers.values():
            if isinstance(refusal, KeyMissing):
                raise refusal
        raise QuorumLost(f"{mine.key}: on {holders}, {record.acknowledge} endpoints must hold it; try again")


def _compare(endpoint: Endpoint, line: Member, keyring: Keyring, expected: bytes) -> None:
    """Return if what the endpoint holds was written with these keys."""
    found = [_find(endpoint, line, (version,), CHECK_NAME) for version in keyring.versions]
    for wrapped in filter(None, found):
        if keyring.unwrap(wrapped) != expected:
            raise KeyMissing("the store secret of the settings is not the one that the store's files are sealed with")
    # Nothing to compare with: a new store, one that was only copied into, or one whose keys are all unknown here.
    held = set() if any(found) else set(masters_of(endpoint, line))
    if held and held.isdisjoint(keyring.versions):
        raise KeyMissing(_not_held("the store's keys are", held, keyring.versions))


def _not_held(what: str, missing: set[int], held: tuple[int, ...]) -> str:
    versions, have = (", ".join(map(str, sorted(numbers))) for numbers in (missing, held))
    return f"{what} wrapped by master key version {versions}, the settings hold {have}: add it to them"
