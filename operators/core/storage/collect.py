"""The collector: the only one that deletes from the store, in two steps with days between.

What it may take are files and manifests that nothing reaches: no result of a run key, no entry of a stream, no hold.
Checkpoints of a run key that has its result count as unreached, of others all but the newest three, and so do the files
of manifests that an erasure forgot. Slots are never deleted.

1. `mark` writes one list of what it means to delete (a tomb), after it refused whatever looks wrong.
2. `sweep`, when the grace is over and every writer that could not see the list has ended, looks again at what is
   reached, seals the list, and deletes the rest from every endpoint.

Any error means that nothing more is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import TypeVar

from operators.core.errors import CollectionRefused, StorageError
from operators.core.manifest import canonical
from operators.core.progress import Progress, no_progress
from operators.core.storage.collection import NO_LIST, CollectSpec, Plan
from operators.core.storage.documents import put_small, read_all
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.objects import object_key
from operators.core.storage.pins import Tomb, read_pins, read_tombs
from operators.core.storage.records import Member, Record
from operators.core.storage.roots import Reached, reached
from operators.core.storage.store import Store
from operators.core.storage.wrapping import CHECK_NAME

_KINDS = ("wal/", "man/", "obj/", "key/")
"""In the order of deletion: what names a file never outlives it."""


Answer = TypeVar("Answer")


class _Seen:
    """One key as the endpoints list it."""

    __slots__ = ("bytes", "modified")

    def __init__(self) -> None:
        self.bytes, self.modified = 0, 0.0


class Collector:
    """Collects in one store."""

    def __init__(
        self,
        store: Store,
        spec: CollectSpec,
        progress: Progress = no_progress,
        needs: Callable[[Store, Progress], Reached] = reached,
    ) -> None:
        """Take what it works on.

        Args:
            store: Where it collects.
            spec: How careful it is.
            progress: Told of what it reads and deletes.
            needs: Says what must stay: by default what results, streams and holds reach.
        """
        self._store, self._spec, self._progress, self._needs = store, spec, progress, needs
        self._members = store.membership

    def plan(self) -> Plan:
        """Return what `mark` would list; nothing is written.

        Raises:
            CollectionRefused: An endpoint is away or its clock is off, a manifest is unreadable, nothing was listed, or
                more than `max_share` of the bytes would go.
            StorageError: The store does not answer.
        """
        record = self._members.read_record()
        now = self._check_members(record)
        listed = self._listed(record)
        reached = self._reached(listed)
        pins = [pin.started for pin in read_pins(self._members, record) if pin.expires > now]
        horizon = min([now - self._spec.grace_seconds, *pins]) - self._spec.skew_seconds
        keys = tuple(sorted(key for key, seen in listed.items() if key not in reached and seen.modified < horizon))
        total = sum(seen.bytes for seen in listed.values())
        doomed = sum(listed[key].bytes for key in keys)
        if doomed > self._spec.max_share * total:
            raise CollectionRefused(
                f"{doomed:,} of {total:,} bytes would go, more than {self._spec.max_share:.0%}: look at the list; if "
                "it is right, raise max_share for this once"
            )
        return Plan(keys=keys, bytes=doomed, total_bytes=total)

    def mark(self) -> Plan:
        """List what nothing reaches, for `sweep` to delete when the grace is over.

        Raises:
            CollectionRefused: As `plan`, or a former list is not swept yet.
        """
        record = self._members.read_record()
        if tombs := read_tombs(self._members, record):
            raise CollectionRefused(f"a collection of {len(tombs[0].keys)} keys is open: sweep it first")
        plan = self.plan()
        if plan.keys:
            created = self._members.clock()
            tomb = Tomb(number=int(created), created=created, keys=frozenset(plan.keys))
            put_small(self._members, record, tomb.list_key, tomb.encode())
        return plan

    def sweep(self) -> Plan:
        """Delete what the open list names and still nothing reaches; return it, or what it waits for.

        A sweep that was interrupted is finished by the next.

        Raises:
            CollectionRefused: As `plan`.
        """
        record = self._members.read_record()
        tombs = read_tombs(self._members, record)
        if not tombs:
            return Plan(keys=(), bytes=0, total_bytes=0, waits_for=NO_LIST)
        tomb, now = tombs[0], self._check_members(record)
        if waits_for := self._waits_for(record, tomb, now):
            return Plan(keys=(), bytes=0, total_bytes=0, waits_for=waits_for)
        put_small(self._members, record, tomb.seal_key, canonical({"sealed": tomb.number}))
        # After the seal, in this order: whoever spared a key before it is seen here, whoever comes later is refused.
        if waits_for := self._waits_for(record, tomb, now):
            return Plan(keys=(), bytes=0, total_bytes=0, waits_for=waits_for)
        spared = {key.split("/spared/")[1] for key in read_all(self._members, record, tomb.folder) if "/spared/" in key}
        listed = self._listed(record)
        doomed = tomb.keys - spared - self._reached(listed)
        for done, kind in enumerate(_KINDS, start=1):
            self._delete(record, sorted(key for key in doomed if key.startswith(kind)))
            self._progress(done, len(_KINDS), f"deleted {kind}")
        self._close(record, tomb)
        size = sum(listed[key].bytes for key in doomed if key in listed)
        return Plan(keys=tuple(sorted(doomed)), bytes=size, total_bytes=sum(seen.bytes for seen in listed.values()))

    def _waits_for(self, record: Record, tomb: Tomb, now: float) -> str:
        """Return what must end before the list may be swept, empty where nothing must."""
        due = tomb.created + self._spec.grace_seconds
        if now < due:
            return f"the grace ends in {due - now:,.0f} s"
        unseeing = [
            pin
            for pin in read_pins(self._members, record)
            if pin.expires > now and pin.started <= tomb.created + self._spec.skew_seconds
        ]
        if unseeing:
            wait = unseeing[0].expires - now
            return f"{len(unseeing)} writers began before the list was written; the first ends within {wait:,.0f} s"
        return ""

    def _check_members(self, record: Record) -> float:
        """Return the time, once every endpoint counts and all clocks agree."""
        before = self._members.clock()
        clocks = self._members.ask_counted(record, lambda endpoint, line: endpoint.clock())
        after = self._members.clock()
        missing = sorted(set(record.names) - set(clocks))
        if missing:
            raise CollectionRefused(f"endpoints {missing} are away or do not count: nothing is collected without them")
        # An S3 server tells whole seconds.
        skew = self._spec.skew_seconds + 1
        off = {
            name: round(clock - after, 1)
            for name, clock in clocks.items()
            if not before - skew <= clock <= after + skew
        }
        if off:
            raise CollectionRefused(
                f"clocks differ from this machine's by {off} s, {self._spec.skew_seconds:g} s is the most: set them"
            )
        return before

    def _listed(self, record: Record) -> dict[str, _Seen]:
        """Return every key that could be collected: its largest copy, and when its newest was written."""

        def scan(endpoint: Endpoint, line: Member) -> list[tuple[str, int, float]]:
            prefix = f"{line.incarnation}/"
            return [
                (found.key.removeprefix(prefix), found.bytes, found.modified)
                for kind in _KINDS
                for found in endpoint.list(prefix + kind)
            ]

        seen: dict[str, _Seen] = {}
        for copies in self._ask_all(record, scan).values():
            for key, size, modified in copies:
                one = seen.setdefault(key, _Seen())
                one.bytes, one.modified = max(one.bytes, size), max(one.modified, modified)
        if not seen:
            raise CollectionRefused("the store lists no file at all: an empty listing is never believed")
        return seen

    def _reached(self, listed: Iterable[str]) -> set[str]:
        """Return every key that a result, a stream or a hold reaches.

        Raises:
            CollectionRefused: Something that it must read cannot be read.
        """
        try:
            needed = self._needs(self._store, self._progress)
        except StorageError as error:
            raise CollectionRefused(f"what is reached cannot be told: {error}") from error
        if not needed.manifests:
            raise CollectionRefused("the store has no result and no stream: an empty listing is never believed")
        keys = {object_key("man", digest) for digest in needed.manifests}
        keys |= {object_key("obj", digest) for digest in needed.objects}
        return keys | needed.documents | _wrapped_keys(listed, needed.objects)

    def _delete(self, record: Record, keys: Iterable[str]) -> None:
        wanted = list(keys)

        def delete(endpoint: Endpoint, line: Member) -> None:
            for key in wanted:
                endpoint.delete(f"{line.incarnation}/{key}")

        self._ask_all(record, delete)

    def _close(self, record: Record, tomb: Tomb) -> None:
        """Take the list away, itself last: until then an interrupted sweep is taken up again."""
        keys = sorted(read_all(self._members, record, tomb.folder))
        self._delete(record, [key for key in keys if key != tomb.list_key])
        self._delete(record, [tomb.list_key])

    def _ask_all(self, record: Record, question: Callable[[Endpoint, Member], Answer]) -> dict[str, Answer]:
        answers = self._members.ask_counted(record, question)
        if len(answers) < len(record.members):
            missing = sorted(set(record.names) - set(answers))
            raise CollectionRefused(
                f"endpoints {missing} went away during the collection; run it again when all are back"
            )
        return answers


def _wrapped_keys(listed: Iterable[str], stored: Set[str]) -> set[str]:
    """Return the wrapped data keys of objects that are reached."""
    names = stored | {CHECK_NAME}
    return {key for key in listed if key.startswith("key/") and key.rsplit("/", 1)[1] in names}
