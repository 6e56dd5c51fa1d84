"""Small documents that no slot decides: pins, lists of the collector, holds. Held at W, looked for at N-W+1."""

from __future__ import annotations

from operators.core.errors import QuorumLost
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.members import Membership
from operators.core.storage.records import Member, Record


def put_small(membership: Membership, record: Record, key: str, data: bytes) -> None:
    """Hold a small document at W endpoints that count, read back.

    Raises:
        QuorumLost: Fewer do.
    """

    def hold(endpoint: Endpoint, line: Member) -> bool:
        endpoint.put_if_absent(f"{line.incarnation}/{key}", data)
        return endpoint.get(f"{line.incarnation}/{key}") == data

    holders = [name for name, held in membership.ask_counted(record, hold).items() if held]
    if len(holders) < record.acknowledge:
        raise QuorumLost(f"{key}: held by {holders}, {record.acknowledge} endpoints must")


def holds_any(membership: Membership, record: Record, key: str) -> bool:
    """Say whether any of N-W+1 endpoints holds a key.

    Raises:
        QuorumLost: Fewer answer.
    """
    found = membership.ask_quorum(record, lambda endpoint, line: endpoint.get(f"{line.incarnation}/{key}"), key)
    return any(data is not None for data in found.values())


def read_all(membership: Membership, record: Record, folder: str) -> dict[str, bytes]:
    """Return what N-W+1 endpoints hold below a folder, by key without incarnation.

    Raises:
        QuorumLost: Fewer answer.
    """

    def read(endpoint: Endpoint, line: Member) -> dict[str, bytes]:
        prefix = f"{line.incarnation}/"
        listed = [found.key for found in endpoint.list(f"{prefix}{folder}/")]
        held = {key.removeprefix(prefix): endpoint.get(key) for key in listed}
        return {key: data for key, data in held.items() if data is not None}

    views = membership.ask_quorum(record, read, folder)
    return {key: data for view in views.values() for key, data in view.items()}
