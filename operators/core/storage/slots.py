"""Slots: keys that take one value for ever. `put_once` is the only primitive that commits anything.

A slot's value under a term is `<incarnation>/<slot>/<term>`, and the highest term speaks. The steps are those of
docs/architecture.md, section 3; its reasons are in docs/adr/0003.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from operators.core.errors import CommitUnknown, PrimaryAway, QuorumLost
from operators.core.storage.endpoint import Endpoint, EndpointAway
from operators.core.storage.members import Membership
from operators.core.storage.records import Member, Record, term_key
from operators.core.storage.sums import with_sum, without_sum


def put_once(membership: Membership, slot: str, data: bytes) -> bytes:
    """Bring a value to the slot and return the slot's value: these bytes, or those that won.

    Raises:
        PrimaryAway, QuorumLost, CommitUnknown: Not acknowledged, and it may still land: the same call again is safe.
    """
    winner = _settle(membership, slot, data)
    if winner is None:
        raise CommitUnknown(f"slot {slot}: the value that was put is not there; try again")
    return winner


def read_slot(membership: Membership, slot: str) -> bytes | None:
    """Return the slot's value, None where it has none: `put_once` with nothing to propose."""
    return _settle(membership, slot, None)


def _settle(membership: Membership, slot: str, proposal: bytes | None) -> bytes | None:
    record = membership.read_record()
    views = membership.ask_quorum(record, lambda endpoint, line: _entries(endpoint, line, slot), f"slot {slot}")
    newest = max((term for view in views.values() for term in view), default=0)
    if newest > record.term:
        raise CommitUnknown(f"slot {slot}: an entry of term {newest} while the record says {record.term}; try again")
    if newest == 0 and proposal is None:
        if membership.read_record() != record:
            raise CommitUnknown(f"slot {slot}: the members changed while it was read; try again")
        return None
    holders = {name for name, view in views.items() if record.term in view}
    if newest == record.term:
        winner = _only({view[newest] for view in views.values() if newest in view}, slot)
    else:
        # An entry of an older term takes the place of the proposal: it may have been acknowledged.
        older = {view[newest] for view in views.values() if newest in view}
        winner = _win_at_primary(membership, record, slot, _only(older, slot) if older else proposal)
        holders.add(record.primary)
    _spread(membership, record, slot, winner, holders)
    return winner


def _entries(endpoint: Endpoint, line: Member, slot: str) -> dict[int, bytes]:
    """Return the newest entry of a slot on one endpoint, as {term: value}; empty where it has none."""
    listed = endpoint.list(f"{line.incarnation}/{slot}/")
    if not listed:
        return {}
    newest = listed[-1].key.removeprefix(f"{line.incarnation}/")
    data = read_entry(endpoint, line, newest)
    return {} if data is None else {int(newest.rsplit("/", 1)[1]): data}


def read_entry(endpoint: Endpoint, line: Member, key: str) -> bytes | None:
    """Return the value of an entry (a key below the incarnation), None where there is none.

    Raises:
        EndpointAway: The entry is damaged, or another's: what this endpoint holds cannot be told, it does not count.
    """
    stored = endpoint.get(f"{line.incarnation}/{key}")
    if stored is None:
        return None
    value = without_sum(key, stored)
    if value is None:
        raise EndpointAway(f"endpoint {endpoint.name}: {key} is damaged: scrub it")
    return value


def offer_entry(endpoint: Endpoint, line: Member, key: str, value: bytes) -> bool:
    """Create an entry. True: created now. False: it exists, or nobody knows; read it."""
    return endpoint.put_if_absent(f"{line.incarnation}/{key}", with_sum(key, value))


def _only(values: set[bytes], slot: str) -> bytes:
    if len(values) != 1:
        raise CommitUnknown(f"slot {slot}: endpoints hold {len(values)} values of one term, which must never be: stop")
    return next(iter(values))


def _win_at_primary(membership: Membership, record: Record, slot: str, proposal: bytes | None) -> bytes:
    """Return what the primary holds after it was offered the proposal. 412, time-out and reset are all unknown."""
    assert proposal is not None
    key = f"{slot}/{term_key(record.term)}"

    def offer(endpoint: Endpoint, line: Member) -> bytes | None:
        return proposal if offer_entry(endpoint, line, key, proposal) else read_entry(endpoint, line, key)

    primary = replace(record, members=(record.line(record.primary),))
    held = membership.ask_counted(primary, offer).get(record.primary)
    if held is None:
        raise PrimaryAway(
            f"slot {slot}: primary {record.primary} is away or could not tell what it holds; commits wait for it. "
            "Bring it back, or move the primary"
        )
    return held


def _spread(membership: Membership, record: Record, slot: str, winner: bytes, holders: Set[str]) -> None:
    """Return once W endpoints that count were read to hold the winner and no newer record rules.

    The endpoints in `holders` showed an entry of this term before, and are only read.
    """
    key = f"{slot}/{term_key(record.term)}"

    def offer(endpoint: Endpoint, line: Member) -> bytes | None:
        if endpoint.name not in holders:
            offer_entry(endpoint, line, key, winner)
        return read_entry(endpoint, line, key)

    agreed = {name for name, held in membership.ask_counted(record, offer).items() if held == winner}
    if len(agreed) < record.acknowledge:
        raise QuorumLost(f"slot {slot}: on {sorted(agreed)}, {record.acknowledge} endpoints must hold it; try again")
    if membership.read_record() != record:
        raise CommitUnknown(f"slot {slot}: the members changed during the commit; try again")
