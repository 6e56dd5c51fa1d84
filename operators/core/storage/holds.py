"""Holds: manifests that somebody wants kept, with all they reach, whatever else forgets them."""

from __future__ import annotations

from dataclasses import dataclass

from operators.core.errors import QuorumLost
from operators.core.manifest import FORMAT, canonical, check_digest
from operators.core.storage.documents import put_small, read_all
from operators.core.storage.members import Membership
from operators.core.storage.records import Record
from operators.core.storage.sums import fields_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """One manifest that is kept."""

    manifest: str
    reason: str
    """Who wants it and why, in words."""


def place_hold(membership: Membership, record: Record, hold: Hold) -> None:
    """Keep a manifest and all it reaches from the collector; a second hold on the same changes nothing.

    Raises:
        ValueError: The reason is empty, or not one digest.
        QuorumLost: Too few endpoints took it.
    """
    if not hold.reason.strip():
        raise ValueError("a hold needs a reason: who wants it kept, and why")
    key = _key(hold.manifest)
    if key not in read_all(membership, record, "hold"):
        put_small(membership, record, key, canonical({"format": FORMAT, "reason": hold.reason}))


def lift_hold(membership: Membership, record: Record, manifest: str) -> bool:
    """Take a hold away; return whether there was one.

    Raises:
        QuorumLost: An endpoint is away: it would still have the hold, and a scrub would give it back to the others.
    """
    key = _key(manifest)
    there = key in read_all(membership, record, "hold")
    lifted = membership.ask_counted(record, lambda endpoint, line: endpoint.delete(f"{line.incarnation}/{key}"))
    if left := sorted(set(record.names) - set(lifted)):
        raise QuorumLost(f"the hold on {manifest} stays: {left} may still have it; lift it when they are back")
    return there


def held(membership: Membership, record: Record) -> list[Hold]:
    """Return every hold, in the order of its digest."""
    documents = sorted(read_all(membership, record, "hold").items())
    return [Hold(manifest=key.rsplit("/", 1)[1], reason=fields_of(data, key)["reason"]) for key, data in documents]


def _key(manifest: str) -> str:
    return f"hold/{check_digest(manifest)}"
