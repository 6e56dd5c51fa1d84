"""One run of a scenario, and what it showed: violations by name, none where the store kept its promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from operators.core.errors import StorageError
from operators.core.storage import Store
from operators.core.storage.founding import found_store
from operators.core.storage.members import Membership
from operators.core.storage.objects import is_content
from operators.core.storage.primary import move_primary
from operators.core.storage.records import Record, candidates, counting
from operators.core.storage.resync import resync
from operators.core.storage.scrub import PARTS, scrub
from tests.faults.simulation.actors import STREAM, Actors, Seen, call_of, commit, read_whole
from tests.faults.simulation.scenarios import SCENARIOS, play
from tests.faults.simulation.world import World

JOBS = ("first", "second")
TICKS = 4000


@dataclass
class Verdict:
    """What a seed showed."""

    seed: int
    scenario: str
    violations: set[str]
    fired: Counter[str]
    acknowledged: int
    swept: int
    """Keys that collectors deleted."""
    trace: list[str] | None


def simulate(seed: int, scenario: str, *, trace: bool = False) -> Verdict:
    """Run one seed of one scenario to its end, then stop all faults and look at what is left."""
    world = World(seed)
    world.trace = [] if trace else None
    world.faults = False
    found_store(world.members())
    world.faults = True
    actors = Actors(world)
    for name, run in _cast(world, actors):
        world.spawn(name, run)
    world.spawn("scenario", play(world, actors, SCENARIOS[scenario]))
    world.run(TICKS)
    # Rot and a lost endpoint are two faults: only a scrub between them keeps what was acknowledged.
    scrubs = scenario == "rotten" or world.random.random() < 0.5
    violations = Aftermath(world, actors.seen, (*JOBS, *sorted(actors.jobs)), scrubs=scrubs).look()
    return Verdict(
        seed=seed,
        scenario=scenario,
        violations=violations,
        fired=world.fired,
        acknowledged=sum(len(values) for values in actors.seen.acknowledged.values()),
        swept=actors.swept,
        trace=world.trace,
    )


def _cast(world: World, actors: Actors) -> list[tuple[str, Callable[[], None]]]:
    """Return a few of the users of the store: a seed with few of them goes deeper into what those few can do."""
    late = actors.after(world.random.randint(40, 1500), actors.writer(JOBS[0], "L"))
    everybody = [
        ("writer A", actors.writer(JOBS[0], "A")),
        ("writer B", actors.writer(JOBS[0], "B")),
        ("writer C", actors.writer(JOBS[1], "C")),
        ("late writer", late),
        ("appender X", actors.appender("X")),
        ("appender Y", actors.appender("Y")),
        ("reader", actors.reader(JOBS[0])),
    ]
    return world.random.sample(everybody, world.random.randint(2, 4))


class Aftermath:
    """The time after the faults: the store is repaired, read, given its zombies, read, robbed of an endpoint, read.

    A scrub gives every key its copies back, and would hide what a resync left out: not every seed has one.
    """

    def __init__(self, world: World, seen: Seen, jobs: Sequence[str], *, scrubs: bool) -> None:
        self.world, self.seen, self.jobs, self.scrubs = world, seen, jobs, scrubs
        self.violations: set[str] = set()
        self._random = Random(world.random.random())
        self._without_good_copy: set[str] = set()

    def look(self) -> set[str]:
        """Return every promise that was broken."""
        self.world.faults = False
        for site in self.world.sites.values():
            site.up = not site.gone
        if self._random.random() < 0.5:
            self.world.land_all()
        if self._check("after the faults"):
            self.world.run_out()
            self.world.land_all()
            if self._check("after the zombies"):
                self._lose_one()
        self._compare()
        return self.violations

    def _check(self, when: str) -> bool:
        if not repair(self.world, self._random):
            self.violations.add(f"III no repair {when}")
            return False
        if self.scrubs:
            self._scrub(when)
        store = self.world.store()
        for job in self.jobs:
            self._use_job(store, job, when)
        self._use_stream(store, when)
        return True

    def _scrub(self, when: str) -> None:
        """Mend every copy; a slot that rotted before it was acknowledged goes with its endpoint's incarnation."""
        try:
            report = scrub(self.world.members(), parts=range(PARTS))
            for name in sorted({flaw.endpoint for flaw in report.lost if not is_content(flaw.key)}):
                resync(self.world.members(), name, anew=True)
            report = scrub(self.world.members(), parts=range(PARTS))
        except StorageError as error:
            self.violations.add(f"III no scrub {when}: {type(error).__name__}")
            self.world.note(f"scrub {when}: {error}")
            return
        # What no endpoint had a good copy of while all answered: with one gone a scrub cannot tell that any more.
        self._without_good_copy |= {flaw.key for flaw in report.lost}
        left = [flaw for flaw in report.left if flaw.key not in self._without_good_copy]
        if left or any(not is_content(flaw.key) for flaw in report.lost):
            self.violations.add(f"III a scrub does not end {when}")
            self.world.note(f"{report}")

    def _use_job(self, store: Store, job: str, when: str) -> None:
        key = call_of(job).run_key
        try:
            before = store.find(key)
            if before is None and self.seen.acknowledged[key]:
                self.violations.add(f"II acknowledged result is gone {when}")
            digest = commit(store, job, "afterwards")
            self.seen.acknowledged[key].append(digest)
            read_whole(store, digest)
        except StorageError as error:
            known = "II acknowledged result unreadable" if self.seen.acknowledged[key] else "III job is stuck"
            self.violations.add(f"{known} {when}: {type(error).__name__}")
            self.world.note(f"{job} {when}: {error}")

    def _use_stream(self, store: Store, when: str) -> None:
        try:
            entries = store.stream(STREAM).entries()
            for entry in entries:
                self.seen.read[f"{STREAM}/{entry.generation}"].append(entry.sha256)
                read_whole(store, entry.manifest)
            told = {int(slot.split("/")[1]) for slot in self.seen.acknowledged if slot.startswith(f"{STREAM}/")}
            if told and max(told) >= len(entries):
                self.violations.add(f"II acknowledged entry is gone {when}")
        except StorageError as error:
            self.violations.add(f"II stream unreadable {when}: {type(error).__name__}")
            self.world.note(f"stream {when}: {error}")

    def _lose_one(self) -> None:
        """Take one endpoint away for good, where all count: what was acknowledged must still be there."""
        members = self.world.members()
        record, views = members.read_record(), members.views()
        if len(counting(record, views)) < len(record.members):
            return
        lost = self._random.choice(record.names)
        self.world.sites[lost].up = False
        self.world.note(f"LOST {lost}")
        for slot in list(self.seen.acknowledged):
            if not slot.startswith(STREAM):
                self._read_one(slot)
        self._check("after a loss")

    def _read_one(self, run_key: str) -> None:
        try:
            result = self.world.store().find(run_key)
        except StorageError:
            return
        if result is None:
            self.violations.add("II acknowledged result is gone with one endpoint lost")
        else:
            self.seen.read[run_key].append(result.digest)

    def _compare(self) -> None:
        for slot, values in self.seen.acknowledged.items():
            if len(set(values)) > 1:
                self.violations.add("I two values were acknowledged for one slot")
            elif values and set(self.seen.read[slot]) - set(values):
                self.violations.add("IV a reader was given what was not acknowledged")
        firsts = set(self.seen.acknowledged[f"{STREAM}/0"])
        for value in self.seen.acknowledged[f"{STREAM}/1"]:
            if firsts and self.seen.previous[value] not in firsts:
                self.violations.add("I the chain of a stream is broken")


def repair(world: World, random: Random) -> bool:
    """Do what a person would until commits can go on: resync what does not count, move a primary that is away."""
    return any(_repaired(world, random) for _ in range(12))


def _repaired(world: World, random: Random) -> bool:
    """Take one step; say whether nothing was left to do."""
    members = world.members()
    views = members.views()
    if not candidates(views):
        return False
    record = _ruling(members)
    base = record or candidates(views)[0]
    up = [name for name in base.names if world.sites[name].up]
    strangers = [name for name in up if name not in counting(base, views)]
    try:
        if record is not None and record.primary in up and strangers:
            resync(members, strangers[0])
        elif record is not None and record.primary in up:
            return True
        else:
            move_primary(members, random.choice([name for name in up if name not in strangers] or up))
    except StorageError as error:
        world.note(f"repair: {error}")
        if strangers:
            _resync_quietly(world, random.choice(strangers))
    return False


def _resync_quietly(world: World, name: str) -> None:
    try:
        resync(world.members(), name)
    except StorageError as error:
        world.note(f"repair: {error}")


def _ruling(members: Membership) -> Record | None:
    try:
        return members.read_record()
    except StorageError:
        return None
