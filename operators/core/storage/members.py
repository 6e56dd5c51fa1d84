"""Who belongs to the store: identities of endpoints, and the write-once records of its members.

An endpoint *counts* only while its identity, read after all answers of a step, equals its line in the record that
rules.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from random import Random, SystemRandom
from typing import NamedTuple, TypeVar

from operators.core.errors import QuorumLost, StorageError
from operators.core.manifest import FORMAT, canonical
from operators.core.settings import StorageSettings
from operators.core.storage.endpoint import Endpoint, EndpointAway, Round, ThreadRound, open_endpoint
from operators.core.storage.sums import with_sum, without_sum

IDENTITY_KEY = "identity.json"
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One endpoint's line in a record."""

    name: str
    endpoint: str
    """Identity given once, by `nightshift init` or a resync."""
    incarnation: str
    """Prefix of all its keys; a wiped endpoint starts a new one."""

    def is_line_of(self, identity: tuple[str, str] | None) -> bool:
        """Say whether an endpoint of that identity is the one that this line means."""
        return identity == (self.endpoint, self.incarnation)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """The members of one term, and their primary."""

    term: int
    members: tuple[Member, ...]
    primary: str
    acknowledge: int

    def encode(self) -> bytes:
        """Return the bytes that are stored under `member/<term>`."""
        return _encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """Read back what `encode` wrote.

        Raises:
            EndpointAway: The bytes are damaged.
        """
        content = without_sum(data)
        if content is None:
            raise EndpointAway("a member record is damaged: resync its endpoint")
        document = json.loads(content)
        if document.pop("format") != FORMAT:
            raise StorageError(f"the store's member record has another format than {FORMAT}: use a newer Nightshift")
        document["members"] = tuple(Member(**line) for line in document["members"])
        return cls(**document)

    @property
    def quorum(self) -> int:
        """N-W+1: any that many endpoints meet every acknowledged write."""
        return len(self.members) - self.acknowledge + 1

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the endpoints, in the order of their lines."""
        return tuple(member.name for member in self.members)

    def line(self, name: str) -> Member:
        """Return an endpoint's line."""
        return next(member for member in self.members if member.name == name)


@lru_cache(maxsize=64)
def _encode(record: Record) -> bytes:
    return with_sum(canonical({"format": FORMAT, **asdict(record)}))


class View(NamedTuple):
    """What one endpoint says of the store's members."""

    record: Record | None
    """The highest it holds; None where it holds none."""
    identity: tuple[str, str] | None
    """Read after the record."""


class _Newest(NamedTuple):
    key: str
    record: Record | None
    read_under: tuple[str, str] | None
    """The identity that the record was remembered with; None where it was read now."""


def term_key(term: int) -> str:
    """Return the last part of a slot's key: sortable as text."""
    return f"{term:012d}"


def encode_identity(endpoint: str, incarnation: str) -> bytes:
    """Return the bytes of `identity.json`."""
    return canonical({"format": FORMAT, "endpoint": endpoint, "incarnation": incarnation})


def read_identity(endpoint: Endpoint) -> tuple[str, str] | None:
    """Return (endpoint id, incarnation), None where the endpoint has none: new, wiped, or no longer readable."""
    data = endpoint.get(IDENTITY_KEY)
    try:
        document = json.loads(data or b"{}")
        return document["endpoint"], document["incarnation"]
    except (ValueError, KeyError, TypeError):
        return None


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

    def read_record(self) -> Record:
        """Return the record that rules: the highest that any N-W+1 endpoints hold, copied to W first.

        Raises:
            QuorumLost: Too few endpoints answer, or the highest record cannot be brought to W.
        """
        views = self.views()
        for record in candidates(views):
            if self._complete(record, views):
                return record
        if not any(view.record for view in views.values()):
            hint = "run `nightshift init`" if len(views) == len(self.endpoints) else "bring the endpoints back"
            raise QuorumLost(f"no member record on {sorted(views)} (asked {sorted(self.endpoints)}): {hint}")
        top = candidates(views)[0]
        raise QuorumLost(
            f"member record {top.term} is not on {top.acknowledge} endpoints that count; answering: {sorted(views)}. "
            "Bring the missing endpoints back, or resync a wiped one"
        )

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
        return _Newest(newest, None if data is None else Record.decode(data), None)

    def _complete(self, record: Record, views: Mapping[str, View]) -> bool:
        """Return whether W endpoints that count hold the record, copying it to those that lack it."""
        counted = counting(record, views)
        if len(counted) < record.quorum:
            return False
        if sum(views[name].record == record for name in counted) >= record.acknowledge:
            return True
        return self.propose(record) == record

    def propose(self, record: Record) -> Record | None:
        """Put a record, if absent, on every endpoint; return what W that count hold under its term, None where none.

        Terms are ballots: another's record may have the number, and some have nobody's.
        """

        def offer(endpoint: Endpoint) -> bytes | None:
            key = f"member/{term_key(record.term)}"
            endpoint.put_if_absent(key, record.encode())
            return endpoint.get(key)

        held = self.round.ask(self.endpoints.values(), offer)
        identities = self.round.ask([self.endpoints[name] for name in held], read_identity)
        for data in sorted({data for data in held.values() if data is not None}):
            offered = Record.decode(data)
            holders = [name for name in identities if held[name] == data and name in offered.names]
            if sum(offered.line(name).is_line_of(identities[name]) for name in holders) >= offered.acknowledge:
                return offered
        return None


def open_members(settings: StorageSettings) -> Membership:
    """Return the members that the settings name; nothing is contacted yet."""
    endpoints = [open_endpoint(item) for item in settings.endpoints]
    return Membership(endpoints, settings.acknowledge, around=ThreadRound(len(endpoints)))


def candidates(views: Mapping[str, View]) -> list[Record]:
    """Return the records of the highest term that was seen, the one whose lines most endpoints match first.

    The first is also what a new record is made from where none of them rules.
    """
    records = {view.record for view in views.values() if view.record is not None}
    top = max((record.term for record in records), default=0)
    highest = [record for record in records if record.term == top]
    return sorted(highest, key=lambda record: (-len(counting(record, views)), record.encode()))


def counting(record: Record, views: Mapping[str, View]) -> list[str]:
    """Return the endpoints that count under a record; one that lacks the record itself counts and is given it."""
    return [line.name for line in record.members if line.name in views and line.is_line_of(views[line.name].identity)]


def initialise(settings: StorageSettings) -> Record:
    """Make a store of empty endpoints; one that is already initialised is left as it is.

    Returns:
        The member record that rules.

    Raises:
        StorageError: An endpoint is away.
    """
    membership = open_members(settings)
    for endpoint in membership.endpoints.values():
        if hasattr(endpoint, "create_bucket"):
            endpoint.create_bucket()
    return found_store(membership)


def found_store(membership: Membership) -> Record:
    """Give each endpoint its identity and write the first record, unless there is one."""
    views = membership.views()
    if any(view.record for view in views.values()):
        return membership.read_record()
    missing = sorted(set(membership.endpoints) - set(views))
    if missing:
        raise EndpointAway(f"a new store needs all its endpoints, {missing} did not answer")
    # A crash between identities and the first record leaves identities behind: they are taken up, not refused.
    members = tuple(_give_identity(membership, endpoint) for endpoint in membership.endpoints.values())
    membership.propose(Record(term=1, members=members, primary=members[0].name, acknowledge=membership.acknowledge))
    return membership.read_record()


def _give_identity(membership: Membership, endpoint: Endpoint) -> Member:
    endpoint.put_if_absent(IDENTITY_KEY, encode_identity(new_name(membership.random), new_name(membership.random)))
    identity = read_identity(endpoint)
    if identity is None:
        raise EndpointAway(f"endpoint {endpoint.name} does not keep its identity")
    return Member(name=endpoint.name, endpoint=identity[0], incarnation=identity[1])


def new_name(random: Random) -> str:
    """Return 24 hexadecimal digits that nobody else has drawn."""
    return f"{random.getrandbits(96):024x}"
