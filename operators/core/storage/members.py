"""Who belongs to the store: identities of endpoints, and the write-once records of its members.

An endpoint *counts* only while its identity, read after all answers of a step, equals its line in the record that
rules.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

from operators.core.errors import QuorumLost, StorageError
from operators.core.manifest import FORMAT, canonical
from operators.core.settings import StorageSettings
from operators.core.storage.endpoint import Endpoint, EndpointAway, Round, open_endpoint

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """The members of one term, and their primary."""

    term: int
    members: tuple[Member, ...]
    primary: str
    acknowledge: int

    def encode(self) -> bytes:
        """Return the bytes that are stored under `member/<term>`."""
        return canonical({"format": FORMAT, **asdict(self)})

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """Read back what `encode` wrote."""
        document = json.loads(data)
        if document.pop("format") != FORMAT:
            raise StorageError(f"the store's member record has another format than {FORMAT}: use a newer Nightshift")
        document["members"] = tuple(Member(**line) for line in document["members"])
        return cls(**document)

    @property
    def quorum(self) -> int:
        """N-W+1: any that many endpoints meet every acknowledged write."""
        return len(self.members) - self.acknowledge + 1

    def line(self, name: str) -> Member:
        """Return an endpoint's line."""
        return next(member for member in self.members if member.name == name)


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What one endpoint says of the store's members."""

    record: Record | None
    """The highest it holds; None where it holds none."""
    identity: tuple[str, str] | None
    """Read after the record."""

    def counts_as(self, line: Member) -> bool:
        """Say whether the endpoint is the one that a line means."""
        return self.identity == (line.endpoint, line.incarnation)


def term_key(term: int) -> str:
    """Return the last part of a slot's key: sortable as text."""
    return f"{term:012d}"


def read_identity(endpoint: Endpoint) -> tuple[str, str] | None:
    """Return (endpoint id, incarnation), None where the endpoint has none: new, or wiped."""
    data = endpoint.get(IDENTITY_KEY)
    if data is None:
        return None
    document = json.loads(data)
    return document["endpoint"], document["incarnation"]


class Membership:
    """The endpoints of a store and the record that rules them."""

    def __init__(self, settings: StorageSettings) -> None:
        self.endpoints: dict[str, Endpoint] = {item.name: open_endpoint(item) for item in settings.endpoints}
        self.acknowledge = settings.acknowledge
        self.round = Round(len(self.endpoints))
        self._views: dict[str, tuple[str, View]] = {}

    def ask_counted(self, record: Record, question: Callable[[Endpoint, Member], Answer]) -> dict[str, Answer]:
        """Return the answers of the endpoints whose identity, read after the answer, equals their line."""

        def both(endpoint: Endpoint) -> tuple[Answer, bool]:
            line = record.line(endpoint.name)
            answer = question(endpoint, line)
            return answer, read_identity(endpoint) == (line.endpoint, line.incarnation)

        listed = [self.endpoints[member.name] for member in record.members if member.name in self.endpoints]
        return {name: answer for name, (answer, counts) in self.round.ask(listed, both).items() if counts}

    def read_record(self) -> Record:
        """Return the record that rules: the highest that any N-W+1 endpoints hold, copied to W first.

        Raises:
            QuorumLost: Too few endpoints answer, or the highest record cannot be brought to W.
        """
        views = self.views()
        records = {view.record for view in views.values() if view.record is not None}
        if not records:
            hint = "run `nightshift init`" if len(views) == len(self.endpoints) else "bring the endpoints back"
            raise QuorumLost(f"no member record on {sorted(views)} (asked {sorted(self.endpoints)}): {hint}")
        top = max(record.term for record in records)
        candidates = [record for record in records if record.term == top]
        for record in sorted(candidates, key=lambda item: (-len(_counted(item, views)), item.encode())):
            if self._complete(record, views):
                return record
        raise QuorumLost(
            f"member record {top} is not on {self.acknowledge} endpoints that count; answering: {sorted(views)}. "
            "Bring the missing endpoints back, or resync a wiped one"
        )

    def views(self) -> dict[str, View]:
        """Return what the endpoints that answer say of the members now."""
        return self.round.ask(self.endpoints.values(), self._view)

    def _view(self, endpoint: Endpoint) -> View:
        keys = endpoint.list("member/")
        newest = keys[-1] if keys else ""
        key, known = self._views.get(endpoint.name, ("", None))
        # A record is written once in the life of an endpoint: under the identity it was read with, it is the same.
        if known is not None and known.identity and key == newest and read_identity(endpoint) == known.identity:
            return known
        data = endpoint.get(newest) if newest else None
        # The identity is read last: an endpoint wiped in between must not count with what it held before.
        view = View(record=None if data is None else Record.decode(data), identity=read_identity(endpoint))
        if view.record is not None:
            self._views[endpoint.name] = (newest, view)
        return view

    def _complete(self, record: Record, views: Mapping[str, View]) -> bool:
        """Return whether W endpoints that count hold the record, copying it to those that lack it."""
        counted = _counted(record, views)
        if len(counted) < record.quorum:
            return False
        if sum(views[name].record == record for name in counted) >= record.acknowledge:
            return True
        return len(self.put_record(record)) >= record.acknowledge

    def put_record(self, record: Record) -> set[str]:
        """Put a record, if absent, on every endpoint; return those that count and hold it."""

        def offer(endpoint: Endpoint, _line: Member) -> bytes | None:
            key = f"member/{term_key(record.term)}"
            endpoint.put_if_absent(key, record.encode())
            return endpoint.get(key)

        return {name for name, held in self.ask_counted(record, offer).items() if held == record.encode()}


def _counted(record: Record, views: Mapping[str, View]) -> list[str]:
    """Return the endpoints that count under a record; one that lacks the record itself counts and is given it."""
    return [line.name for line in record.members if line.name in views and views[line.name].counts_as(line)]


def initialise(settings: StorageSettings) -> Record:
    """Make a store of empty endpoints; one that is already initialised is left as it is.

    Returns:
        The member record that rules.

    Raises:
        StorageError: An endpoint is away.
    """
    membership = Membership(settings)
    for endpoint in membership.endpoints.values():
        if hasattr(endpoint, "create_bucket"):
            endpoint.create_bucket()
    views = membership.views()
    if any(view.record for view in views.values()):
        return membership.read_record()
    missing = sorted(set(membership.endpoints) - set(views))
    if missing:
        raise EndpointAway(f"a new store needs all its endpoints, {missing} did not answer")
    # A crash between identities and the first record leaves identities behind: they are taken up, not refused.
    members = tuple(_give_identity(endpoint) for endpoint in membership.endpoints.values())
    first = Record(term=1, members=members, primary=members[0].name, acknowledge=settings.acknowledge)
    membership.put_record(first)
    return membership.read_record()


def _give_identity(endpoint: Endpoint) -> Member:
    fresh = {"format": FORMAT, "endpoint": uuid.uuid4().hex, "incarnation": uuid.uuid4().hex[:12]}
    endpoint.put_if_absent(IDENTITY_KEY, canonical(fresh))
    identity = read_identity(endpoint)
    if identity is None:
        raise EndpointAway(f"endpoint {endpoint.name} does not keep its identity")
    return Member(name=endpoint.name, endpoint=identity[0], incarnation=identity[1])
