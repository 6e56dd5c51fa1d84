"""Broken versions of the protocol, each one rule short: a simulation that passes them proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Any

import pytest

from operators.core.errors import PrimaryAway, QuorumLost
from operators.core.manifest import FORMAT, Manifest, canonical
from operators.core.storage import collect, objects, pins, records, resync, slots, store
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.members import Membership
from operators.core.storage.records import Member, Record, term_key

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """One rule left out."""

    name: str
    scenario: str
    """Where it shows."""
    apply: Patch
    start: int = 0
    """The first seed to try: it showed there when this was written, and may show later once the draws have changed."""


def _every_endpoint_counts(patch: pytest.MonkeyPatch) -> None:
    """An endpoint counts whatever its identity says."""

    def ask_counted(self: Membership, record: Record, question: Callable[[Endpoint, Member], Any]) -> dict[str, Any]:
        asked = [self.endpoints[name] for name in record.names]
        return self.round.ask(asked, lambda endpoint: question(endpoint, record.line(endpoint.name)))

    patch.setattr(Membership, "ask_counted", ask_counted)


def _unverified(patch: pytest.MonkeyPatch) -> None:
    """A copy counts when it was sent: nothing is read back before the acknowledgement."""

    def spread(membership: Membership, record: Record, slot: str, winner: bytes, holders: Set[str]) -> None:
        def offer(endpoint: Endpoint, line: Member) -> None:
            slots.offer_entry(endpoint, line, f"{slot}/{term_key(record.term)}", winner)

        if len(membership.ask_counted(record, offer)) < record.acknowledge:
            raise QuorumLost(slot)

    patch.setattr(slots, "_spread", spread)


def _one_copy_less(patch: pytest.MonkeyPatch) -> None:
    """A slot is acknowledged at W-1 copies."""
    true = slots._spread

    def spread(membership: Membership, record: Record, slot: str, winner: bytes, holders: Set[str]) -> None:
        ruled = membership.read_record
        patch.setattr(membership, "read_record", lambda: replace(ruled(), acknowledge=record.acknowledge - 1))
        true(membership, replace(record, acknowledge=record.acknowledge - 1), slot, winner, holders)
        patch.setattr(membership, "read_record", ruled)

    patch.setattr(slots, "_spread", spread)


def _one_file_copy_less(patch: pytest.MonkeyPatch) -> None:
    """A file is acknowledged at W-1 copies."""
    true = objects.put_objects
    patch.setattr(
        store,
        "put_objects",
        lambda m, record, new: true(m, replace(record, acknowledge=record.acknowledge - 1), new),
    )


def _no_last_look(patch: pytest.MonkeyPatch) -> None:
    """The member record is not read again before the acknowledgement."""
    true = slots._spread

    def spread(membership: Membership, record: Record, slot: str, winner: bytes, holders: Set[str]) -> None:
        ruled = membership.read_record
        membership.read_record = lambda: record  # type: ignore[method-assign]
        try:
            true(membership, record, slot, winner, holders)
        finally:
            membership.read_record = ruled  # type: ignore[method-assign]

    patch.setattr(slots, "_spread", spread)


def _no_carrying_over(patch: pytest.MonkeyPatch) -> None:
    """An entry of an older term does not take the place of the proposal."""

    def entries(endpoint: Endpoint, line: Member, slot: str) -> dict[int, bytes]:
        listed = endpoint.list("member/")
        term = int(listed[-1].key.split("/")[1]) if listed else 0
        return {number: data for number, data in true(endpoint, line, slot).items() if number >= term}

    true = slots._entries
    patch.setattr(slots, "_entries", entries)


def _others_first(patch: pytest.MonkeyPatch) -> None:
    """The primary is one endpoint among others: whoever takes the proposal first decides."""

    def win(membership: Membership, record: Record, slot: str, proposal: bytes | None) -> bytes:
        assert proposal is not None

        def offer(endpoint: Endpoint, line: Member) -> bytes | None:
            key = f"{slot}/{term_key(record.term)}"
            is_new = slots.offer_entry(endpoint, line, key, proposal)
            return proposal if is_new else slots.read_entry(endpoint, line, key)

        held = list(membership.ask_counted(record, offer).values())
        if proposal in held:
            return proposal
        if not held or held[0] is None:
            raise PrimaryAway(slot)
        return held[0]

    patch.setattr(slots, "_win_at_primary", win)


def _unknown_is_won(patch: pytest.MonkeyPatch) -> None:
    """A put at the primary that nobody confirmed is taken for one that landed."""

    def win(membership: Membership, record: Record, slot: str, proposal: bytes | None) -> bytes:
        assert proposal is not None
        line = record.line(record.primary)
        endpoint = membership.endpoints[record.primary]
        slots.offer_entry(endpoint, line, f"{slot}/{term_key(record.term)}", proposal)
        return proposal

    patch.setattr(slots, "_win_at_primary", win)


def _unknown_is_lost(patch: pytest.MonkeyPatch) -> None:
    """A put at the primary that nobody confirmed is taken for a lost race: what others hold is the winner."""

    def win(membership: Membership, record: Record, slot: str, proposal: bytes | None) -> bytes:
        assert proposal is not None
        line = record.line(record.primary)
        key = f"{slot}/{term_key(record.term)}"
        if slots.offer_entry(membership.endpoints[record.primary], line, key, proposal):
            return proposal
        held = membership.ask_counted(record, lambda end, line: slots.read_entry(end, line, key))
        others = [data for name, data in held.items() if name != record.primary and data is not None]
        return others[0] if others else proposal

    patch.setattr(slots, "_win_at_primary", win)


def _commit_first(patch: pytest.MonkeyPatch) -> None:
    """The slot is written before the manifest that it names."""

    def commit(self: store.Store, manifest: Manifest) -> store.Result:
        document = canonical({"format": FORMAT, "manifest": manifest.digest})
        winner = slots.put_once(self.membership, f"run/{manifest.run_key}", document)
        self.put_manifest(manifest)
        return self._result(winner, found=winner != document)

    patch.setattr(store.Store, "commit", commit)


def _members_without_quorum(patch: pytest.MonkeyPatch) -> None:
    """A member record rules where one endpoint holds it."""

    def propose(self: Membership, record: Record) -> Record | None:
        def offer(endpoint: Endpoint) -> bytes | None:
            endpoint.put_if_absent(record.key, record.encode())
            return endpoint.get(record.key)

        held = [data for data in self.round.ask(self.endpoints.values(), offer).values() if data is not None]
        return Record.decode(record.key, held[0]) if held else None

    patch.setattr(Membership, "propose", propose)
    patch.setattr(Membership, "_complete", lambda self, record, views: bool(records.counting(record, views)))


def _same_incarnation(patch: pytest.MonkeyPatch) -> None:
    """A wiped endpoint is given back its old identity before it is refilled."""

    def renew(membership: Membership, endpoint: Endpoint, former: Member) -> Member:
        endpoint.put(records.IDENTITY_KEY, records.encode_identity(former.endpoint, former.incarnation))
        return former

    patch.setattr(resync, "_renew", renew)


def _refill_from_one(patch: pytest.MonkeyPatch) -> None:
    """A wiped endpoint is refilled from one other."""
    true = Membership.ask_counted

    def ask_counted(self: Membership, record: Record, question: Any) -> dict[str, Any]:
        answers = true(self, record, question)
        if question is not resync._keys:
            return answers
        first = next(iter(answers.values()), {})
        return dict.fromkeys(answers, first)

    patch.setattr(Membership, "ask_counted", ask_counted)


def _enrolled_early(patch: pytest.MonkeyPatch) -> None:
    """A wiped endpoint gets its line on record before it is refilled."""
    true = resync._renew

    def renew(membership: Membership, endpoint: Endpoint, former: Member) -> Member:
        line = true(membership, endpoint, former)
        base = membership.read_record()
        lines = tuple(line if item.name == line.name else item for item in base.members)
        membership.propose(replace(base, term=base.term + 1, members=lines))
        return line

    patch.setattr(resync, "_renew", renew)


def _reads_from_one(patch: pytest.MonkeyPatch) -> None:
    """A slot is absent where one endpoint says so, and its value what one endpoint holds."""

    def settle(membership: Membership, slot: str, proposal: bytes | None) -> bytes | None:
        if proposal is not None:
            return true(membership, slot, proposal)
        views = membership.ask_counted(membership.read_record(), lambda e, line: slots._entries(e, line, slot))
        if not views:
            raise QuorumLost(slot)
        view = next(iter(views.values()))
        return view[max(view)] if view else None

    true = slots._settle
    patch.setattr(slots, "_settle", settle)


def _no_pins(patch: pytest.MonkeyPatch) -> None:
    """A writer takes no pin: the collector does not know that it is there."""
    patch.setattr(pins.Lease, "take", lambda self, record: None)


def _no_second_look(patch: pytest.MonkeyPatch) -> None:
    """The collector deletes what it listed, whatever has been committed since."""
    true = collect.Collector.sweep

    def sweep(self: collect.Collector) -> collect.Plan:
        self._reached = lambda listed: set()  # type: ignore[method-assign]
        return true(self)

    patch.setattr(collect.Collector, "sweep", sweep)


MUTANTS = [
    Mutant("every endpoint counts", "wiped_primary", _every_endpoint_counts, 589),
    Mutant("no verification", "betrayed", _unverified),
    Mutant("a slot acknowledged at W-1", "betrayed", _one_copy_less, 140),
    Mutant("a file acknowledged at W-1", "left_alone", _one_file_copy_less, 49),
    Mutant("no last look at the record", "moved_from_slow", _no_last_look, 166),
    Mutant("no carrying over", "moved", _no_carrying_over),
    Mutant("others before the primary", "outages", _others_first),
    Mutant("unknown taken for won", "outages", _unknown_is_won),
    Mutant("unknown taken for lost", "outages", _unknown_is_lost),
    Mutant("commit before the files", "outages", _commit_first),
    Mutant("a record rules on one endpoint", "moved_then_lost", _members_without_quorum),
    Mutant("the same incarnation after a wipe", "wiped", _same_incarnation, 189),
    Mutant("refilled from one", "slow_endpoint", _refill_from_one, 1479),
    Mutant("enrolled before it is refilled", "left_alone", _enrolled_early, 35),
    Mutant("read from one", "outages", _reads_from_one),
    Mutant("no pins", "collected", _no_pins, 1941),
    Mutant("no second look", "collected", _no_second_look),
]
