"""Small documents that no slot decides: pins, lists of the collector, holds. Held at W, looked for at N-W+1."""

from __future__ import annotations

from operators.core.errors import QuorumLost
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.members import Membership
from operators.core.storage.records import Member, Record
from operators.core.storage.sums import with_sum, without_sum


def put_small(membership: Membership, record: Record, key: str, data: bytes) -> None:
    """Hold a small document at W endpoints that count, read back.

    Raises:
        QuorumLost: Fewer do.
    """
    stored = with_sum(key, data)

    def hold(endpoint: Endpoint, line: Member) -> bool:
        endpoint.put_if_absent(f"{line.incarnation}/{key}", stored)
        return endpoint.get(f"{line.incarnation}/{key}") == stored

    holders = [name for name, held in membership.ask_counted(record, hold).items() if held]
    if len(holders) < record.acknowledge:
        raise QuorumLost(f"{key}: held by {holders}, {record.acknowledge} endpoints must")


def holds_any(membership: Membership, record: Record, key: str) -> bool:
    """Say whether any of N-W+1 endpoints holds a key, whole or not.

    Raises:
        QuorumLost: Fewer answer.
    """
    found = membership.ask_quorum(record, lambda endpoint, line: endpoint.get(f"{line.incarnation}/{key}"), key)
    return any(data is not None for data in found.values())


def read_document(membership: Membership, record: Record, key: str) -> bytes | None:
    """Return a document of which one endpoint holds a whole copy, None where none that answers does."""
    found = membership.ask_counted(record, lambda endpoint, line: endpoint.get(f"{line.incarnation}/{key}"))
    copies = (without_sum(key, stored) for stored in found.values() if stored is not None)
    return next((data for data in copies if data is not None), None)


def read_all(membership: Membership, record: Record, folder: str) -> dict[str, bytes]:
    """Return what N-W+1 endpoints hold below a folder, by key without incarnation.

    A damaged copy is passed over where another endpoint has a whole one. Where none has, the endpoint that shows it
    does not count: what was acknowledged is whole on another of those that are left.

    Raises:
        QuorumLost: Fewer answer and count.
    """

    def read(endpoint: Endpoint, line: Member) -> dict[str, bytes | None]:
        prefix = f"{line.incarnation}/"
        keys = [found.key.removeprefix(prefix) for found in endpoint.list(f"{prefix}{folder}/")]
        held = {key: endpoint.get(f"{prefix}{key}") for key in keys}
        return {key: without_sum(key, stored) for key, stored in held.items() if stored is not None}

    views = membership.ask_quorum(record, read, folder)
    whole = {key: data for view in views.values() for key, data in view.items() if data is not None}
    sound = sorted(name for name, view in views.items() if view.keys() <= whole.keys())
    if len(sound) < record.quorum:
        raise QuorumLost(
            f"{folder}: {sorted(views)} answer, only what {sound} hold is whole, {record.quorum} endpoints must be "
            "whole. Bring the others back, or resync the damaged ones"
        )
    return whole
