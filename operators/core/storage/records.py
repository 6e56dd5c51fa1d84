"""Who belongs to the store, in words: identities of endpoints, and the write-once records of its members.

An endpoint *counts* only while its identity, read after all answers of a step, equals its line in the record that
rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from random import Random
from typing import NamedTuple

from operators.core.errors import StorageError
from operators.core.manifest import FORMAT, canonical
from operators.core.storage.endpoint import Endpoint, EndpointAway
from operators.core.storage.sums import fields_of, with_sum, without_sum

IDENTITY_KEY = "identity.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One endpoint's line in a record."""

    name: str
    endpoint: str
    """Identity given once, by `nightshift init` or a resync."""
    incarnation: str
    """Prefix of all its keys; a wiped endpoint starts a new one."""
    decides: bool = True
    """Whether its put-if-absent lets one writer win only: else it may hold copies, and not decide what is true."""

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

    @property
    def key(self) -> str:
        """Where the record lies, on every endpoint."""
        return f"member/{term_key(self.term)}"

    @classmethod
    def decode(cls, key: str, data: bytes) -> Record:
        """Read back what `encode` wrote under a key.

        Raises:
            EndpointAway: The bytes are damaged.
        """
        content = without_sum(key, data)
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

    @property
    def deciders(self) -> tuple[str, ...]:
        """The names of the endpoints that may be the primary, and whose copies of a record count as votes."""
        return tuple(member.name for member in self.members if member.decides)

    def line(self, name: str) -> Member:
        """Return an endpoint's line."""
        return next(member for member in self.members if member.name == name)


@lru_cache(maxsize=64)
def _encode(record: Record) -> bytes:
    return with_sum(record.key, canonical({"format": FORMAT, **asdict(record)}))


class View(NamedTuple):
    """What one endpoint says of the store's members."""

    record: Record | None
    """The highest it holds; None where it holds none."""
    identity: tuple[str, str] | None
    """Read after the record."""


def term_key(term: int) -> str:
    """Return the last part of a slot's key: sortable as text."""
    return f"{term:012d}"


def encode_identity(endpoint: str, incarnation: str) -> bytes:
    """Return the bytes of `identity.json`."""
    return canonical({"format": FORMAT, "endpoint": endpoint, "incarnation": incarnation})


def read_identity(endpoint: Endpoint) -> tuple[str, str] | None:
    """Return (endpoint id, incarnation), None where the endpoint has none: new, wiped, or no longer readable.

    Raises:
        StorageError: It is of another format: that is no endpoint to be taken for a wiped one and refilled.
    """
    data = endpoint.get(IDENTITY_KEY)
    if data is None:
        return None
    try:
        document = fields_of(data, f"the identity of endpoint {endpoint.name}")
        return document["endpoint"], document["incarnation"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


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


def new_name(random: Random) -> str:
    """Return 24 hexadecimal digits that nobody else has drawn."""
    return f"{random.getrandbits(96):024x}"
