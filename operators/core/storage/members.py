"""The endpoints of a store together: asked at once, counted by their identities, ruled by the highest record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from random import Random, SystemRandom
from typing import NamedTuple, TypeVar

from operators.core.errors import QuorumLost
from operators.core.settings import StorageSettings
from operators.core.storage.endpoint import Endpoint, Round, ThreadRound, open_endpoint
from operators.core.storage.records import (
    Member,
    Record,
    View,
    candidates,
    counting,
    read_identity,
)

Answer = TypeVar("Answer")


class _Newest(NamedTuple):
    key: str
    record: Record | None
    read_under: tuple[str, str] | None
    """The identity that the record was remembered with; None where it was read now."""


class Membership:
    """The endpoints of a store, the record that rules them, and the only clock and random source the protocol uses."""

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        acknowledge: int,
        *,
        around: Round,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> None:
        """Bring them together.

        Args:
            endpoints: In the order in which files are read: nearest first.
            acknowledge: W of a store that is yet to be made; a made one has it in its record.
            around: How several endpoints are asked at once.
            clock: Seconds since 1970.
            random: Where identities and pin names come from; None for the operating system's.
        """
        self.endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self.acknowledge = acknowledge
        self.round = around
        self.clock = clock
        self.random = random or SystemRandom()
        self._known: dict[str, tuple[str, View]] = {}

    def ask_counted(self, record: Record, question: Callable[[Endpoint, Member], Answer]) -> dict[str, Answer]:
        """Return the answers of the endpoints whose identity, read after *all* answers, equals their line."""
        lines = {line.name: line for line in record.members if line.name in self.endpoints}
        asked = [self.endpoints[name] for name in lines]
        answers = self.round.ask(asked, lambda endpoint: question(endpoint, lines[endpoint.name]))
        identities = self.round.ask([self.endpoints[name] for name in answers], read_identity)
        return {name: answers[name] for name, identity in identities.items() if lines[name].is_line_of(identity)}

    def ask_quorum(
        self, record: Record, question: Callable[[Endpoint, Member], Answer], what: str
    ) -> dict[str, Answer]:
        """Return what `ask_counted` does, of N-W+1 endpoints at least: those meet every acknowledged write.

        Args:
            record: The record that rules.
            question: What each is asked.
            what: What it is about, for the message.

        Raises:
            QuorumLost: Fewer count.
        """
        answers = self.ask_counted(record, question)
        if len(answers) < record.quorum:
            raise QuorumLost(f"{what}: {sorted(answers)} answer and count, {record.quorum} endpoints must; try again")
        return answers

    def read_record(self) -> Record:
        """Return the record that rules: the highest that any N-W+1 endpoints hold, copied to W first.

        Raises:
            QuorumLost: Too few endpoints answer, or the highest record cannot be brought to W.
        """
        views = self.views()
        record = self._ruling(views)
        if record is not None:
            return record
        top = self._highest(views)
        raise QuorumLost(
            f"member record {top.term} is not on {top.acknowledge} endpoints that count; answering: {sorted(views)}. "
            "Bring the missing endpoints back, or resync a wiped one"
        )

    def read_base(self) -> Record:
        """Return what a new record is made from: the one that rules, or, where none does, the highest.

        Two records may share the highest number, and the one that lost may look the better: only where none rules is
        it the one whose lines most endpoints match.

        Raises:
            QuorumLost: No endpoint that answers holds a record.
        """
        views = self.views()
        return self._ruling(views) or self._highest(views)

    def _ruling(self, views: Mapping[str, View]) -> Record | None:
        return next((record for record in candidates(views) if self._complete(record, views)), None)

    def _highest(self, views: Mapping[str, View]) -> Record:
        highest = candidates(views)
        if not highest:
            hint = "run `nightshift init`" if len(views) == len(self.endpoints) else "bring the endpoints back"
            raise QuorumLost(f"no member record on {sorted(views)} (asked {sorted(self.endpoints)}): {hint}")
        return highest[0]

    def views(self) -> dict[str, View]:
        """Return what the endpoints that answer say of the members now, their identities read after all records."""
        while True:
            found = self.round.ask(self.endpoints.values(), self._newest)
            identities = self.round.ask([self.endpoints[name] for name in found], read_identity)
            # What was remembered of an endpoint's former life is forgotten, and all are asked once more.
            reborn = [name for name, identity in identities.items() if found[name].read_under not in (None, identity)]
            for name in reborn:
                del self._known[name]
            if not reborn:
                break
        views = {name: View(record=found[name].record, identity=identity) for name, identity in identities.items()}
        self._known |= {name: (found[name].key, view) for name, view in views.items() if view.record and view.identity}
        return views

    def _newest(self, endpoint: Endpoint) -> _Newest:
        """Return an endpoint's highest record, remembered where it is: it is written once in an endpoint's life."""
        listed = endpoint.list("member/")
        newest = listed[-1].key if listed else ""
        key, known = self._known.get(endpoint.name, ("", None))
        if known is not None and key == newest:
            return _Newest(newest, known.record, known.identity)
        data = endpoint.get(newest) if newest else None
        return _Newest(newest, None if data is None else Record.decode(newest, data), None)

    def _complete(self, record: Record, views: Mapping[str, View]) -> bool:
        """Return whether W endpoints that count hold the record, copying it to those that lack it."""
        counted = counting(record, views)
        if len(counted) < record.quorum:
            return False
        if sum(views[name].record == record for name in counted if record.line(name).decides) >= record.acknowledge:
            return True
        return self.propose(record) == record

    def propose(self, record: Record) -> Record | None:
        """Put a record, if absent, on every endpoint; return what W that count hold under its term, None where none.

        Terms are ballots: another's record may have the number, and some have nobody's. An endpoint that lets two
        writers win may hold one record after the other, so that its vote is none.
        """

        def offer(endpoint: Endpoint) -> bytes | None:
            endpoint.put_if_absent(record.key, record.encode())
            return endpoint.get(record.key)

        held = self.round.ask(self.endpoints.values(), offer)
        identities = self.round.ask([self.endpoints[name] for name in held], read_identity)
        for data in sorted({data for data in held.values() if data is not None}):
            offered = Record.decode(record.key, data)
            holders = [name for name in offered.deciders if held.get(name) == data and name in identities]
            if sum(offered.line(name).is_line_of(identities[name]) for name in holders) >= offered.acknowledge:
                return offered
        return None


def open_members(settings: StorageSettings) -> Membership:
    """Return the members that the settings name; nothing is contacted yet."""
    endpoints = [open_endpoint(item) for item in settings.endpoints]
    return Membership(endpoints, settings.acknowledge, around=ThreadRound(len(endpoints)))
