"""Those who use the store in the simulation: each runs the real code, dies, and tries again as a new process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

from operators.core.errors import CollectionRefused, StorageError
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.storage import Entry, Store
from operators.core.storage.collect import Collector
from operators.core.storage.collection import CollectSpec
from operators.core.storage.primary import move_primary, settle_slots
from operators.core.storage.resync import resync
from operators.core.storage.scrub import PARTS, scrub
from tests.faults.simulation.world import Crash, World

Answer = TypeVar("Answer")
STREAM = "versions"
GRACE = CollectSpec(grace_seconds=40, skew_seconds=0, max_share=1)


@dataclass
class Seen:
    """What the users of the store were told: the invariants are about this and nothing else."""

    acknowledged: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By run key, or `stream/generation`: every value that was acknowledged."""
    read: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    previous: dict[str, str | None] = field(default_factory=dict)
    """By acknowledged stream entry: the digest of the one before."""


class Actors:
    """Makes the processes of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen = Seen()
        self.swept = 0
        self.jobs: set[str] = set()
        """Of the rewriters."""

    def tries(self, count: int, once: Callable[[], Answer]) -> Answer | None:
        """Return what a try returned, each in a new process; None where all failed or died."""
        for _ in range(count):
            try:
                return once()
            except (StorageError, Crash):
                self.world.pause()
        return None

    def writer(self, job: str, value: str, count: int = 4) -> Callable[[], None]:
        """Commit a result for a job; a try after a crash may compute other bytes, as a GPU does."""
        attempt = iter(range(count))

        def once() -> None:
            made = f"{value}.{next(attempt) if self.world.random.random() < 0.5 else 0}"
            with closing(self.world.store()) as store:
                digest = commit(store, job, made)
            self.seen.acknowledged[call_of(job).run_key].append(digest)
            self.world.note(f"ACKNOWLEDGED {job} {digest[:8]} ({made})")

        return lambda: self.tries(count, once)

    def rewriter(self, job: str) -> Callable[[], None]:
        """Put a file, die before it is committed, and do the work again some time later: the bytes are the same."""
        self.jobs.add(job)

        def put() -> None:
            with closing(self.world.store()) as store:
                store.put_bytes("value.txt", f"{job} again".encode())

        def redo() -> None:
            with closing(self.world.store()) as store:
                entry = store.put_bytes("value.txt", f"{job} again".encode())
                # Work takes its time between the first file and the commit.
                self.world.pause(self.world.random.randint(0, 250))
                digest = store.commit(Manifest.of(call_of(job), Made(files=(entry,)))).digest
            self.seen.acknowledged[call_of(job).run_key].append(digest)
            self.world.note(f"ACKNOWLEDGED {job} {digest[:8]}")

        def run() -> None:
            self.tries(2, put)
            self.world.pause(self.world.random.randint(0, 500))
            self.tries(4, redo)

        return run

    def appender(self, name: str, generations: int = 2, count: int = 4) -> Callable[[], None]:
        """Append to a stream, each entry after the one it last saw acknowledged."""

        def once() -> None:
            with closing(self.world.store()) as store:
                entry = self._append(store, name, generations)
            if entry is None:
                return
            slot = f"{STREAM}/{entry.generation}"
            self.seen.acknowledged[slot].append(entry.sha256)
            self.seen.previous[entry.sha256] = entry.previous
            self.world.note(f"ACKNOWLEDGED {slot} {entry.sha256[:8]}")

        return lambda: [self.tries(count, once) for _ in range(generations)] and None

    def _append(self, store: Store, name: str, generations: int) -> Entry | None:
        stream = store.stream(STREAM)
        head = stream.head()
        if head is not None:
            self.seen.read[f"{STREAM}/{head.generation}"].append(head.sha256)
            if head.generation + 1 >= generations:
                return None
        manifest = store.put_manifest(Manifest.of(call_of(f"{name}{head.generation if head else -1}"), Made()))
        return stream.append(manifest, head)

    def reader(self, job: str, count: int = 5) -> Callable[[], None]:
        """Look a result up, again and again, and read what it names."""

        def once() -> None:
            key = call_of(job).run_key
            store = self.world.store()
            result = store.find(key)
            if result is not None:
                self.seen.read[key].append(result.digest)
                read_whole(store, result.digest)

        def run() -> None:
            for _ in range(count):
                self.tries(1, once)
                self.world.pause(self.world.random.randrange(6))

        return run

    def mover(self, target: str, delay: int, count: int = 6) -> Callable[[], None]:
        """Move the primary, then read every slot once."""

        def once() -> None:
            members = self.world.members()
            move_primary(members, target)
            settle_slots(members)

        return self.after(delay, lambda: self.tries(count, once))

    def resyncer(self, name: str, delay: int, count: int = 8) -> Callable[[], None]:
        """Refill an endpoint that was found wiped."""
        return self.after(delay, lambda: self.tries(count, lambda: resync(self.world.members(), name)))

    def collector(self, delay: int, count: int = 6) -> Callable[[], None]:
        """Mark and sweep, with a grace as short as the simulation's time."""

        def once() -> None:
            collector = Collector(self.world.store(), GRACE)
            try:
                collector.mark()
            except CollectionRefused as error:
                self.world.note(f"refused: {error}")
            self.world.pause(60)
            done = collector.sweep()
            self.world.note(f"swept {done.keys} {done.waits_for}")
            self.swept += len(done.keys)

        def run() -> None:
            for _ in range(count):
                self.tries(1, once)
                self.world.pause(self.world.random.randrange(200))

        return self.after(delay, run)

    def scrubber(self, delay: int, count: int = 4) -> Callable[[], None]:
        """Look at every copy and mend it."""

        def run() -> None:
            for _ in range(count):
                self.tries(1, lambda: scrub(self.world.members(), parts=range(PARTS)))
                self.world.pause(self.world.random.randrange(200))

        return self.after(delay, run)

    def after(self, delay: int, run: Callable[[], object]) -> Callable[[], None]:
        """Do something later."""

        def later() -> None:
            self.world.pause(delay)
            run()

        return later


def call_of(job: str) -> StageCall:
    """Return the call whose run key stands for a job."""
    return StageCall(stage="simulated", revision=1, spec={"job": job})


def commit(store: Store, job: str, value: str) -> str:
    """Put a file and commit a manifest that names it; return the digest that stands for the job."""
    entry = store.put_bytes("value.txt", value.encode())
    return store.commit(Manifest.of(call_of(job), Made(files=(entry,)))).digest


def read_whole(store: Store, digest: str) -> None:
    """Read a manifest and every file that it names."""
    for entry in store.manifest(digest).files:
        store.read(entry)
