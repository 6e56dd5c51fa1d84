"""Resync: an endpoint that was wiped, swapped or restored from a snapshot is refilled and counts again.

It starts a new incarnation, is filled under it from N-W+1 others that count, and only then gets its line in a member
record. Until then nothing that it holds is believed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from operators.core.errors import AllCopiesDamaged, CommitUnknown, QuorumLost, StorageError
from operators.core.progress import Progress, no_progress
from operators.core.scratch import scratch_folder
from operators.core.storage.endpoint import Endpoint, EndpointAway
from operators.core.storage.members import Membership
from operators.core.storage.mending import QUARANTINE
from operators.core.storage.objects import fetch_object, is_content, is_whole, named_hash
from operators.core.storage.probe import may_be_primary, read_report
from operators.core.storage.records import (
    IDENTITY_KEY,
    Member,
    Record,
    encode_identity,
    new_name,
    read_identity,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resynced:
    """What a resync came to."""

    record: Record
    """The members, the endpoint's new line among them."""
    keys: int
    bytes: int
    lost: tuple[str, ...]
    """Content keys that no other endpoint holds a good copy of: restore them from a backup."""


def resync(membership: Membership, name: str, *, anew: bool = False, progress: Progress = no_progress) -> Resynced:
    """Refill an endpoint until it counts. One that counts already is left as it is, unless `anew`.

    Args:
        membership: The store's members.
        name: The endpoint; it must answer, and its bucket or folder must be there.
        anew: Refill it even if its identity is the one on record, as after a restore from a snapshot.
        progress: Told of every key.

    Raises:
        EndpointAway: The endpoint does not answer.
        QuorumLost: Fewer than N-W+1 others count.
        CommitUnknown: The record was not taken; run it again.
        StorageError: A slot has two values in one term: stop and look.
        ValueError: No such endpoint is in the store.
    """
    base = membership.read_base()
    if name not in base.names:
        raise ValueError(f"no endpoint {name!r} in the store; it has {', '.join(base.names)}")
    endpoint = membership.endpoints[name]
    if not anew and base.line(name).is_line_of(read_identity(endpoint)):
        return Resynced(record=membership.read_record(), keys=0, bytes=0, lost=())
    former = replace(base.line(name), decides=_may_decide(base, endpoint))
    line = _renew(membership, endpoint, former)
    # With one line less, W must be one less for N-W+1 to stay what it is.
    others = replace(
        base,
        members=tuple(item for item in base.members if item.name != name),
        acknowledge=base.acknowledge - 1,
    )
    held = membership.ask_quorum(others, _keys, f"refilling {name} from the others")
    refill = Refill(membership, others, held)
    for done, key in enumerate(refill.wanted, start=1):
        refill.copy(key, endpoint, f"{line.incarnation}/{key}")
        progress(done, len(refill.wanted), "keys")
    record = _enrol(membership, base, endpoint, line, sorted(held))
    if not refill.lost:
        _free(endpoint, former)
    return Resynced(record=record, keys=len(refill.wanted), bytes=refill.bytes, lost=tuple(refill.lost))


def _free(endpoint: Endpoint, former: Member) -> None:
    """Delete what the endpoint held in its former life: it has a verified copy of all of it now, and nobody reads it.

    Where a key is lost the former copy may be the only one there is: then all of it stays. So does evidence.
    """
    try:
        for found in endpoint.list(f"{former.incarnation}/"):
            if not found.key.startswith(f"{former.incarnation}/{QUARANTINE}"):
                endpoint.delete(found.key)
    except EndpointAway as error:
        log.warning("what endpoint %s held under %s/ is not freed: %s", endpoint.name, former.incarnation, error)


def _may_decide(base: Record, endpoint: Endpoint) -> bool:
    """Return whether the endpoint's last probe lets it decide; without one it is what it was before.

    Raises:
        ValueError: It may not, and is the primary, or too few would be left that may.
    """
    report = read_report(endpoint)
    decides = base.line(endpoint.name).decides if report is None else may_be_primary(report)
    left = {*base.deciders, endpoint.name} if decides else set(base.deciders) - {endpoint.name}
    if len(left) < base.acknowledge or base.primary not in left:
        raise ValueError(
            f"endpoint {endpoint.name} lets two writers win, says its last probe, and {sorted(left)} would decide "
            f"without it: {base.acknowledge} must, the primary {base.primary} among them. Use another server"
        )
    return decides


def _renew(membership: Membership, endpoint: Endpoint, former: Member) -> Member:
    """Give the endpoint a new incarnation: from now on it counts for nothing until its line is on record."""
    line = replace(former, endpoint=new_name(membership.random), incarnation=new_name(membership.random))
    endpoint.put(IDENTITY_KEY, encode_identity(line.endpoint, line.incarnation))
    if not line.is_line_of(read_identity(endpoint)):
        raise EndpointAway(f"endpoint {endpoint.name} does not keep its identity; is another resync running?")
    return line


def _keys(endpoint: Endpoint, line: Member) -> dict[str, int]:
    """Return the size of every key that an endpoint lists."""
    prefix = f"{line.incarnation}/"
    return {found.key.removeprefix(prefix): found.bytes for found in endpoint.list(prefix)}


class Refill:
    """Copies keys from the endpoints that count to one that does not yet."""

    def __init__(self, membership: Membership, others: Record, held: Mapping[str, Mapping[str, int]]) -> None:
        self._membership, self._others, self._held = membership, others, held
        self._sizes = {key: size for sizes in held.values() for key, size in sizes.items()}
        self.wanted = sorted(self._sizes)
        self.bytes = 0
        self.lost: list[str] = []

    def copy(self, key: str, endpoint: Endpoint, target: str) -> None:
        """Hold one key at the endpoint as the others hold it, verified.

        What no other holds a good copy of is noted, and must not keep the whole endpoint away.
        """
        if (digest := named_hash(key)) is not None:
            self._copy_object(key, digest, endpoint, target)
            return
        values = self._good_values(key)
        if len(values) > 1:
            raise StorageError(f"{key}: the endpoints hold {len(values)} values, which must never be: stop and look")
        if not values:
            # A lease or an account may end meanwhile.
            self.lost += [key] if is_content(key) else []
            return
        data = values.pop()
        endpoint.put(target, data)
        if endpoint.get(target) != data:
            raise EndpointAway(f"endpoint {endpoint.name}: {target} does not read back as it was written")
        self.bytes += len(data)

    def _copy_object(self, key: str, digest: str, endpoint: Endpoint, target: str) -> None:
        with scratch_folder() as folder:
            path = folder / digest
            try:
                fetch_object(self._membership, self._others, key.split("/")[0], digest, self._sizes[key], path)
            except AllCopiesDamaged:
                self.lost.append(key)
                return
            endpoint.put(target, path)
            self.bytes += path.stat().st_size

    def _good_values(self, key: str) -> set[bytes]:
        values: set[bytes] = set()
        for name in (name for name, keys in self._held.items() if key in keys):
            data = self._membership.endpoints[name].get(f"{self._others.line(name).incarnation}/{key}")
            if data is None or not is_whole(key, data):
                continue
            if is_content(key):
                return {data}
            values.add(data)
        return values


def _enrol(membership: Membership, base: Record, endpoint: Endpoint, line: Member, sources: Sequence[str]) -> Record:
    """Bring the endpoint's line on record, numbered above all that its sources hold."""
    newest, views = membership.read_base(), membership.views()
    steady = {name for name in sources if name in views and base.line(name).is_line_of(views[name].identity)}
    if any(name not in steady or newest.line(name) != base.line(name) for name in sources):
        raise QuorumLost(f"endpoint {line.name} is refilled, but not all of {sources} count any more; run it again")
    # Not from the views: an endpoint whose member records are damaged has none, and this is its way back.
    if not line.is_line_of(read_identity(endpoint)):
        raise CommitUnknown(f"endpoint {line.name} changed its identity while it was refilled; run it again")
    # Made from the newest record: a move or another's resync meanwhile must not be undone.
    members = tuple(line if item.name == line.name else item for item in newest.members)
    enrolled = membership.propose(replace(newest, term=newest.term + 1, members=members))
    if enrolled is None or enrolled.line(line.name) != line:
        raise CommitUnknown(f"endpoint {line.name} is refilled, but its record was not taken; run it again")
    return enrolled
