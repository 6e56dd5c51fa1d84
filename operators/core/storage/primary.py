"""Moving the primary: an explicit act, never done on a time-out alone."""

from __future__ import annotations

from dataclasses import replace

from operators.core.errors import CommitUnknown, StorageError
from operators.core.progress import Progress, no_progress
from operators.core.storage.checks import Weight
from operators.core.storage.listing import keys_below
from operators.core.storage.members import Membership
from operators.core.storage.probe import may_be_primary, read_report
from operators.core.storage.records import Record
from operators.core.storage.slots import read_slot


def move_primary(membership: Membership, name: str) -> Record:
    """Make an endpoint the primary and return the record that says so. The same again changes nothing.

    Nothing is closed or copied: a writer under the former record fails its last check, and what it left under the
    former term is carried over when its slot is next read. Read all slots after it (`settle_slots`), so that reads
    go on when this primary is away.

    Raises:
        QuorumLost: Too few endpoints answer to bring the record to W.
        CommitUnknown: Another move was faster, or it cannot be told; look at the record, then try again.
        ValueError: No such endpoint is in the store, or its last probe says that it may not be the primary.
    """
    base = membership.read_base()
    if name not in base.names:
        raise ValueError(f"no endpoint {name!r} in the store; it has {', '.join(base.names)}")
    if not base.line(name).decides:
        raise ValueError(f"endpoint {name} may not be the primary: its put-if-absent lets two writers win")
    report = read_report(membership.endpoints[name])
    if report is not None and not may_be_primary(report):
        reasons = "; ".join(report.against(Weight.NO_MEMBER, Weight.NO_PRIMARY))
        raise ValueError(f"endpoint {name} may not be the primary, says its last probe: {reasons}")
    if base.primary == name and membership.read_record() == base:
        return base
    moved = membership.propose(replace(base, term=base.term + 1, primary=name))
    if moved is None or moved.primary != name:
        raise CommitUnknown(f"the primary did not move to {name}: too few endpoints took the record, or another won")
    return moved


def settle_slots(membership: Membership, progress: Progress = no_progress) -> list[str]:
    """Read every slot once, which brings its value under the ruling term; return those that could not be read.

    Cost: one read a slot; it may be stopped and run again.
    """
    record = membership.read_record()
    keys = keys_below(membership, record, "run/") | keys_below(membership, record, "log/")
    slots = sorted({key.rsplit("/", 1)[0] for key in keys})
    unread = []
    for done, slot in enumerate(slots, start=1):
        try:
            read_slot(membership, slot)
        except StorageError:
            unread.append(slot)
        progress(done, len(slots), "slots")
    return unread
