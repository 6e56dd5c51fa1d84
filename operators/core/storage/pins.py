"""Pins: leases of live writers, which the collector waits for.

A writer pins itself before its first write. From then on the collector deletes nothing that was written after the pin
began, and begins to delete nothing at all of a list that the writer cannot have seen. What the writer needs of a list
that it can see, it spares. So a file that a manifest names is there when the manifest is committed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from operators.core.errors import StorageError
from operators.core.manifest import FORMAT, canonical
from operators.core.storage.documents import holds_any, put_small, read_all
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.members import Membership
from operators.core.storage.records import Member, Record, new_name
from operators.core.storage.sums import fields_of

PIN_SECONDS = 24 * 3600.0
"""A writer commits within this time of its first write, or not at all; longer than any task may run."""
_LAST_COMMIT = 0.75
"""Share of a pin's life after which it commits nothing more: a commit that is under way needs some of the rest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """One writer's lease."""

    id: str
    started: float
    """When the writer's first pin began, in seconds since 1970 by its clock."""
    expires: float
    """A renewed pin is one more, with the same start."""

    @property
    def key(self) -> str:
        """Where it lies, below an incarnation."""
        return f"pin/{self.id}"

    def encode(self) -> bytes:
        """Return the bytes that are stored."""
        return canonical({"format": FORMAT, "id": self.id, "started": self.started, "expires": self.expires})

    @classmethod
    def decode(cls, data: bytes) -> Pin:
        """Read back what `encode` wrote."""
        document = fields_of(data, "a pin")
        return cls(id=document["id"], started=document["started"], expires=document["expires"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Tomb:
    """What a collection means to delete."""

    number: int
    created: float
    """Seconds since 1970, by the collector's clock."""
    keys: frozenset[str]
    """Without their incarnation: of `obj/`, `man/` and `key/`."""

    @property
    def folder(self) -> str:
        """Where it lies, below an incarnation."""
        return f"tomb/{self.number:012d}"

    @property
    def list_key(self) -> str:
        """The list itself; written first, deleted last."""
        return f"{self.folder}/list"

    @property
    def seal_key(self) -> str:
        """Says that deleting has begun: nothing can be spared any more."""
        return f"{self.folder}/sealed"

    def spare_key(self, key: str) -> str:
        """Says that a writer needs this key."""
        return f"{self.folder}/spared/{key}"

    def encode(self) -> bytes:
        """Return the bytes that are stored."""
        return canonical({"format": FORMAT, "created": self.created, "keys": sorted(self.keys)})


class Lease:
    """A writer's pins: one taken before its first write, one more whenever half of the last one's life is over.

    A training writes for longer than a pin lives. A writer that slept through its pin does not get another.
    """

    def __init__(self, membership: Membership, seconds: float = PIN_SECONDS) -> None:
        self._membership, self._seconds = membership, seconds
        self._pins: list[Pin] = []
        self._tombs: tuple[Tomb, ...] | None = None
        self._spared: set[str] = set()
        self._lock = threading.Lock()

    def take(self, record: Record) -> None:
        """Be pinned at W endpoints that count, for at least half of a pin's life.

        Raises:
            QuorumLost: Too few endpoints took the pin, or showed their lists.
            StorageError: The last pin is too old to be followed by another.
        """
        with self._lock:
            if self._tombs is None:
                if not self._pins:
                    self._pin(record, self._membership.clock())
                # In this order: the collector writes its list before it looks for pins, so one of the two sees the
                # other. Where the lists could not be read the next try reads them: a pin is no shield from older ones.
                self._tombs = read_tombs(self._membership, record)
            elif self._age() > self._seconds / 2:
                self.check()
                self._pin(record, self._pins[0].started)

    def _pin(self, record: Record, started: float) -> None:
        now = self._membership.clock()
        pin = Pin(id=new_name(self._membership.random), started=started, expires=now + self._seconds)
        put_small(self._membership, record, pin.key, pin.encode())
        self._pins.append(pin)

    def _age(self) -> float:
        return self._membership.clock() - (self._pins[-1].expires - self._seconds)

    def spare(self, record: Record, keys: Iterable[str]) -> None:
        """Keep keys that are about to be relied on from every list that names them.

        Raises:
            StorageError: One of them is being deleted now; in some minutes it can be written anew.
        """
        for tomb in self._tombs or ():
            for key in sorted(tomb.keys.intersection(keys) - self._spared):
                put_small(self._membership, record, tomb.spare_key(key), canonical({"format": FORMAT}))
                if holds_any(self._membership, record, tomb.seal_key):
                    raise StorageError(f"{key} is being deleted by the collector now: try again in some minutes")
                self._spared.add(key)

    def check(self) -> None:
        """Return if what was written under the lease may still be committed.

        Raises:
            StorageError: The lease is too old: what it wrote may be gone. A new try writes it anew.
        """
        if self._pins and not 0 <= (age := self._age()) <= self._seconds * _LAST_COMMIT:
            raise StorageError(
                f"this writer's lease is {age:,.0f} s old, {self._seconds * _LAST_COMMIT:,.0f} s is the most for a "
                "commit: what it wrote may have been collected; try again"
            )

    def end(self, record: Record) -> None:
        """Take the pins away, where endpoints answer; elsewhere they expire. The next write begins a lease anew."""
        with self._lock:
            keys = [pin.key for pin in self._pins]
            self._pins, self._tombs, self._spared = [], None, set()

        def delete(endpoint: Endpoint, line: Member) -> None:
            for key in keys:
                endpoint.delete(f"{line.incarnation}/{key}")

        if keys:
            self._membership.ask_counted(record, delete)


def read_pins(membership: Membership, record: Record) -> list[Pin]:
    """Return every pin, the oldest first, also those that have expired."""
    pins = [Pin.decode(data) for data in read_all(membership, record, "pin").values()]
    return sorted(pins, key=lambda pin: pin.started)


def read_tombs(membership: Membership, record: Record) -> tuple[Tomb, ...]:
    """Return every list of the collector that is not finished."""
    tombs = []
    for key, data in sorted(read_all(membership, record, "tomb").items()):
        if key.endswith("/list"):
            document = fields_of(data, f"the collector's {key}")
            number = int(key.split("/")[1])
            tombs.append(Tomb(number=number, created=document["created"], keys=frozenset(document["keys"])))
    return tuple(tombs)
