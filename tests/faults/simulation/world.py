"""One deterministic world: endpoints in memory, processes as greenlets, one seeded scheduler that picks who moves.

What runs in it is the storage code itself, unchanged: it touches the world only through endpoints, a clock, a random
source and a `Round`, and each of these is the world's here. Every call of an endpoint is a point where others may move,
the process may die, and the call may get lost, land late or land twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, TypeVar

import greenlet

from operators.core.manifest import sha256_hex
from operators.core.storage import Store
from operators.core.storage.endpoint import Endpoint, EndpointAway, Listed
from operators.core.storage.members import Membership
from operators.core.storage.records import IDENTITY_KEY
from tests.faults.rounds import OneByOne

NAMES = ("a", "b", "c")
PIN_SECONDS = 700.0
Answer = TypeVar("Answer")
Item = TypeVar("Item")


class Crash(BaseException):
    """The process dies here: no `except Exception` of the code under test may see it."""


@dataclass
class Site:
    """The disk behind one endpoint."""

    name: str
    held: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    up: bool = True
    gone: bool = False
    """Lost for good: it never comes up again."""
    slowness: float = 0.0
    """How often a call waits long before it reaches this endpoint, beyond what all do."""


@dataclass
class Chances:
    """How often what goes wrong, per call."""

    crash: float = 0.006
    sleep: float = 0.012
    refused: float = 0.02
    late: float = 0.06
    lost_reply: float = 0.04
    twice: float = 0.03
    longest_sleep: int = 500
    """In ticks; a commit may take a quarter of a pin's life, or what it names may have been collected."""
    land: float = 0.03
    """That one late call lands, per tick."""


class Task:
    """One greenlet: a process, or one of the questions that a process asks at once."""

    def __init__(self, name: str, run: Callable[[], Any], hub: greenlet.greenlet, owner: Task | None = None) -> None:
        self.name = name
        self.owner = owner
        self.greenlet = greenlet.greenlet(run, parent=hub)
        self.waits_for = 0
        self.wakes = 0
        self.failure: BaseException | None = None


class World:
    """Everything there is, in one seed."""

    def __init__(self, seed: int, *, num_endpoints: int = 3, acknowledge: int = 2) -> None:
        self.random = Random(seed)
        self.names = NAMES[:num_endpoints] if num_endpoints <= 3 else tuple("abcdefg"[:num_endpoints])
        self.acknowledge = acknowledge
        self.sites = {name: Site(name) for name in self.names}
        self.chances = Chances()
        self.faults = True
        self.ticks = 0
        self.now = 1_000_000.0
        self.late: list[tuple[Site, str, Callable[[], Any]]] = []
        self.fired: Counter[str] = Counter()
        self.trace: list[str] | None = None
        self._ready: list[Task] = []
        self._current: Task | None = None
        self._hub = greenlet.getcurrent()

    # Processes ----------------------------------------------------------------------------------------------------

    def spawn(self, name: str, run: Callable[[], Any]) -> Task:
        """Add a process; it moves when the scheduler picks it."""
        task = Task(name, run, self._hub)
        self._ready.append(task)
        return task

    def run(self, max_ticks: int) -> None:
        """Let processes move in seeded order until none is left or the ticks are used up; some then stay as zombies."""
        while self._ready and self.ticks < max_ticks:
            self.ticks += 1
            self.now += 1.0
            if self.late and self.random.random() < self.chances.land:
                self.land_one()
            awake = [task for task in self._ready if task.wakes <= self.ticks]
            if not awake:
                self.ticks = min(task.wakes for task in self._ready)
                continue
            self._step(self.random.choice(awake))

    def run_out(self) -> None:
        """Let every process that is left run to its end, in seeded order, however long it takes."""
        for task in self._ready:
            task.wakes = 0
        while self._ready:
            self.ticks += 1
            self.now += 1.0
            self._step(self.random.choice(self._ready))

    def _step(self, task: Task) -> None:
        self._current = task
        failure, task.failure = task.failure, None
        died = task.greenlet.throw(failure) if failure is not None else task.greenlet.switch()
        self._current = None
        if task.greenlet.dead and task in self._ready:
            self._ready.remove(task)
        if isinstance(died, Task):
            self._bury(died)

    def pause(self, ticks: int = 0) -> None:
        """Let others move, for at least that many ticks."""
        task = self._current
        if task is None:
            return
        task.wakes = self.ticks + ticks
        self._hub.switch()

    def ask_all(self, questions: dict[str, Callable[[], Answer]]) -> dict[str, Answer]:
        """Run questions at once and return the answers of those that gave one, as `Round.ask` promises."""
        owner = self._current
        answers: dict[str, Answer] = {}
        failures: list[BaseException] = []

        def answer(name: str, question: Callable[[], Answer]) -> None:
            try:
                answers[name] = question()
            except EndpointAway:
                pass
            except Exception as error:
                failures.append(error)
            if owner is not None:
                self._answered(owner)

        runs = [(name, partial(answer, name, question)) for name, question in questions.items()]
        if owner is None:
            for _, run in runs:
                run()
        elif runs:
            owner.waits_for = len(runs)
            self._ready.remove(owner)
            self._ready += [Task(f"{owner.name}>{name}", run, self._hub, owner) for name, run in runs]
            self._hub.switch()
        if failures:
            raise failures[0]
        return answers

    def _answered(self, owner: Task) -> None:
        owner.waits_for -= 1
        if not owner.waits_for:
            self._ready.append(owner)

    def die(self) -> None:
        """End the process that is moving, with all that it asked and was not answered."""
        assert self._current is not None
        self.note("dies")
        if self._current.owner is None:
            raise Crash
        self._hub.switch(self._current.owner)

    def _bury(self, root: Task) -> None:
        """Drop the questions of a process that died where they stand, and wake it with its death."""
        for question in [item for item in self._ready if item.owner is root]:
            self._ready.remove(question)
            question.greenlet.throw(greenlet.GreenletExit)
        root.waits_for, root.failure = 0, Crash()
        self._ready.append(root)

    # The network --------------------------------------------------------------------------------------------------

    def call(self, site: Site, what: str, key: str, effect: Callable[[], Answer], *, writes: bool) -> Answer:
        """Do one thing at an endpoint, with everything that may happen to it on the way."""
        if self._current is not None:
            longest = self.chances.longest_sleep
            sleeps = self._hits("sleeps", self.chances.sleep + site.slowness)
            self.pause(self.random.randint(longest // 16, longest) if sleeps else 0)
            if self._hits("crash before", self.chances.crash):
                self.die()
        if not site.up:
            self.fired["away"] += self._current is not None
            raise EndpointAway(f"{site.name} is away")
        if self._hits("refused", self.chances.refused):
            raise EndpointAway(f"{site.name} refused")
        # An identity is put by one resync or `init`, which reads it back: that put lands at once or not at all.
        if writes and key != IDENTITY_KEY:
            self._send(site, what, key, effect)
        answer = effect()
        self.note(f"{what} {site.name} {key} -> {answer!r}")
        if self._current is not None and self._hits("crash after", self.chances.crash):
            self.die()
        return answer

    def _send(self, site: Site, what: str, key: str, effect: Callable[[], object]) -> None:
        """Lose, delay or double what is written."""
        if self._hits("late", self.chances.late):
            self.late.append((site, f"{what} {key}", effect))
            raise EndpointAway(f"{site.name}: time-out")
        if self._hits("lost reply", self.chances.lost_reply):
            self.note(f"{what} {site.name} {key} -> {effect()!r}, answer lost")
            raise EndpointAway(f"{site.name}: reset")
        if self._hits("twice", self.chances.twice):
            self.late.append((site, f"{what} {key}", effect))

    def _hits(self, fault: str, chance: float) -> bool:
        """Draw whether a fault happens now; each is counted."""
        hit = self.faults and self.random.random() < chance
        self.fired[fault] += hit
        return hit

    def land_one(self) -> None:
        """Let one late call take effect, at an endpoint that is up."""
        landing = [item for item in self.late if item[0].up]
        if landing:
            item = self.random.choice(landing)
            self.late.remove(item)
            self.note(f"late {item[1]} {item[0].name} -> {item[2]()!r}")

    def land_all(self) -> None:
        """Let every late call take effect that still can."""
        while any(item[0].up for item in self.late):
            self.land_one()

    def note(self, words: str) -> None:
        """Keep a line of the trace, if somebody reads it."""
        if self.trace is not None:
            self.trace.append(f"{self.ticks:6d} {self._current.name if self._current else 'calm'}: {words[:160]}")

    # What the code under test gets ----------------------------------------------------------------------------------

    def members(self) -> Membership:
        """Return what a process that starts now knows of the store: nothing but where the endpoints are."""
        endpoints = [SimulatedEndpoint(self, site) for site in self.sites.values()]
        return Membership(
            endpoints,
            self.acknowledge,
            around=SimulatedRound(self),
            clock=lambda: self.now,
            random=self.random,
        )

    def store(self) -> Store:
        """Open the store, as a process that starts now."""
        return Store(self.members(), pin_seconds=PIN_SECONDS)


class SimulatedRound(OneByOne):
    """Asks endpoints at once, in an order that the seed decides."""

    def __init__(self, world: World) -> None:
        self._world = world

    def ask(self, endpoints: Iterable[Endpoint], question: Callable[[Endpoint], Answer]) -> dict[str, Answer]:
        """Return the answers by endpoint name."""

        def bound(endpoint: Endpoint) -> Callable[[], Answer]:
            return lambda: question(endpoint)

        return self._world.ask_all({endpoint.name: bound(endpoint) for endpoint in endpoints})


class SimulatedEndpoint:
    """An endpoint whose operations are linearizable, and whose network is the world's."""

    def __init__(self, world: World, site: Site) -> None:
        self._world, self._site = world, site
        self.name = site.name

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create the key; False is unknown."""

        def effect() -> bool:
            if key in self._site.held:
                return False
            self._site.held[key] = (data, self._world.now)
            return True

        try:
            return self._call("put_if_absent", key, effect, writes=True)
        except EndpointAway:
            return False

    def put(self, key: str, data: bytes | Path) -> None:
        """Hold the bytes."""
        content = data if isinstance(data, bytes) else data.read_bytes()

        def effect() -> None:
            self._site.held[key] = (content, self._world.now)

        self._call("put", key, effect, writes=True)

    def get(self, key: str) -> bytes | None:
        """Return what is there."""
        return self._call("get", key, lambda: self._site.held.get(key, (None,))[0], writes=False)

    def digest(self, key: str) -> str | None:
        """Return the hash of what is there."""
        data = self.get(key)
        return None if data is None else sha256_hex(data)

    def fetch(self, key: str, target: BinaryIO) -> str | None:
        """Write what is there."""
        data = self.get(key)
        target.write(data or b"")
        return None if data is None else sha256_hex(data)

    def size(self, key: str) -> int | None:
        """Return how much is there."""
        held = self._call("size", key, lambda: self._site.held.get(key), writes=False)
        return None if held is None else len(held[0])

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Listed]:
        """Return what is there, sorted."""

        def effect() -> list[Listed]:
            keys = sorted(key for key in self._site.held if key.startswith(prefix) and key > after)[:limit]
            return [Listed(key, len(self._site.held[key][0]), self._site.held[key][1]) for key in keys]

        return self._call("list", prefix, effect, writes=False)

    def delete(self, key: str) -> None:
        """Hold nothing."""
        self._call("delete", key, lambda: self._site.held.pop(key, None), writes=True)

    def clock(self) -> float:
        """Return the world's time: clocks that differ are tested apart."""
        return self._call("clock", "", lambda: self._world.now, writes=False)

    def _call(self, what: str, key: str, effect: Callable[[], Answer], *, writes: bool) -> Answer:
        return self._world.call(self._site, what, key, effect, writes=writes)
