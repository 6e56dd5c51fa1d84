"""Mending one copy: a good one is fetched and hashed, the bad one kept as evidence, then the good one replaces it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from operators.core.errors import AllCopiesDamaged, QuorumLost
from operators.core.scratch import scratch_folder
from operators.core.storage.endpoint import Endpoint, EndpointAway
from operators.core.storage.members import Membership
from operators.core.storage.objects import fetch_object, is_content, is_whole, look_at, named_hash
from operators.core.storage.records import Member, Record

QUARANTINE = "quarantine/"


class Flaw(NamedTuple):
    """One copy that is not as it should be."""

    key: str
    """Without its incarnation."""
    endpoint: str
    kind: Literal["missing", "damaged"]


def mend(
    membership: Membership, record: Record, flaw: Flaw, *, size: int, write: bool
) -> Literal["mended", "sound", "left", "lost"]:
    """Bring one copy to the bytes of a good one, if it is not good already; keep what was there under quarantine.

    Args:
        membership: The store's members.
        record: The record that rules.
        flaw: The copy.
        size: Of the largest copy, in bytes.
        write: Whether to mend it; else it is only looked at.
    """
    endpoint, line = membership.endpoints[flaw.endpoint], record.line(flaw.endpoint)
    try:
        state = look_at(endpoint, line, flaw.key)
        if state == "whole":
            return "sound"
        with scratch_folder() as folder:
            good, bad = folder / "good", folder / "bad"
            if not _fetch_good(membership, record, flaw, size, good):
                return "lost"
            if not write:
                return "left"
            target = f"{line.incarnation}/{flaw.key}"
            if state == "damaged":
                with bad.open("wb") as evidence:
                    endpoint.fetch(target, evidence)
                endpoint.put(f"{line.incarnation}/{QUARANTINE}{flaw.key}", bad)
            if state == "damaged" or is_content(flaw.key):
                # Verified, as every put is.
                endpoint.put(target, good)
                return "mended"
            endpoint.put_if_absent(target, good.read_bytes())
            return "mended" if look_at(endpoint, line, flaw.key) == "whole" else "left"
    except (EndpointAway, QuorumLost):
        return "left"


def _fetch_good(membership: Membership, record: Record, flaw: Flaw, size: int, path: Path) -> bool:
    """Hold a verified copy at a local path; say whether any endpoint has one.

    Raises:
        EndpointAway, QuorumLost: One that may have it does not answer.
    """
    if (digest := named_hash(flaw.key)) is not None:
        try:
            fetch_object(membership, record, flaw.key.split("/")[0], digest, size, path)
        except AllCopiesDamaged:
            return False
        return True
    data = _good_copy(membership, record, flaw)
    if data is not None:
        path.write_bytes(data)
    return data is not None


def _good_copy(membership: Membership, record: Record, flaw: Flaw) -> bytes | None:
    """Return verified bytes from another endpoint that counts, None where none has them.

    Raises:
        EndpointAway: One that may have them does not answer.
    """

    def whole(endpoint: Endpoint, line: Member) -> bytes | None:
        data = endpoint.get(f"{line.incarnation}/{flaw.key}")
        return data if data is not None and is_whole(flaw.key, data) else None

    found = membership.ask_counted(record, whole)
    copies = {data for data in found.values() if data is not None}
    if len(copies) == 1:
        return copies.pop()
    if copies or len(found) < len(record.members):
        raise EndpointAway(f"{flaw.key}: cannot tell which copy is good; endpoints answering: {sorted(found)}")
    return None
