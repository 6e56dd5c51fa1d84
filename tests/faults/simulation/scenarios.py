"""What goes wrong, scenario by scenario: a process of its own that takes endpoints down, wipes them, moves things."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.faults.simulation.actors import Actors
from tests.faults.simulation.world import Site, World

Scenario = Callable[[World, Actors], Iterator[int]]
"""Yields how many ticks to wait before it goes on."""


def outages(world: World, actors: Actors) -> Iterator[int]:
    """Endpoints go away and come back, one at a time."""
    yield from _flap(world, 3)


def wiped(world: World, actors: Actors) -> Iterator[int]:
    """One endpoint loses all it held; a resync starts sooner or later."""
    name = world.random.choice(world.names)
    _wipe(world, name)
    world.spawn("resync", actors.resyncer(name, world.random.randint(0, 10)))
    yield from _flap(world, 2)


def wiped_primary(world: World, actors: Actors) -> Iterator[int]:
    """The primary loses all it held; in half of the cases the primary moves too."""
    _wipe(world, world.names[0])
    world.spawn("resync", actors.resyncer(world.names[0], world.random.randint(0, 12)))
    yield from _flap(world, 1)
    if world.random.random() < 0.5:
        world.spawn("mover", actors.mover(world.random.choice(world.names[1:]), world.random.randint(0, 10)))


def moved(world: World, actors: Actors) -> Iterator[int]:
    """The primary moves while all live."""
    world.spawn("mover", actors.mover(world.random.choice(world.names[1:]), 0))
    yield from _flap(world, 2)


def moved_from_slow(world: World, actors: Actors) -> Iterator[int]:
    """Calls take long to reach the primary: it moves, while three write to one slot under one record or the other."""
    world.sites[world.names[0]].slowness = 0.15
    yield world.random.randint(0, 100)
    actors.jobs.add("contested")
    for name in "MNO":
        world.spawn(f"writer {name}", actors.after(world.random.randint(0, 200), actors.writer("contested", name)))
    world.spawn("mover", actors.mover(world.random.choice(world.names[1:]), 0))
    yield from _flap(world, 1)


def moved_from_dead(world: World, actors: Actors) -> Iterator[int]:
    """The primary is away and moves; in some cases it never comes back."""
    first = world.names[0]
    _take_down(world, first)
    world.spawn("mover", actors.mover(world.random.choice(world.names[1:]), world.random.randint(0, 8)))
    yield world.random.randint(15, 200)
    if world.random.random() < 0.7:
        _bring_up(world, first)
    else:
        world.sites[first].gone = True
    yield from _flap(world, 1)


def two_movers(world: World, actors: Actors) -> Iterator[int]:
    """Two people move the primary to two places at once."""
    if world.random.random() < 0.4:
        _take_down(world, world.names[0])
    for name in world.names[1:3]:
        world.spawn(f"mover to {name}", actors.mover(name, world.random.randint(0, 5)))
    yield world.random.randint(20, 200)
    _bring_up(world, world.names[0])
    yield from _flap(world, 1)


def moved_then_lost(world: World, actors: Actors) -> Iterator[int]:
    """The primary moves, the new one is lost, and it moves again."""
    target = world.random.choice(world.names[1:])
    world.spawn("mover", actors.mover(target, 0))
    yield world.random.randint(25, 250)
    _take_down(world, target)
    world.spawn("second mover", actors.mover(world.random.choice([n for n in world.names if n != target]), 0))
    yield world.random.randint(20, 200)
    if world.random.random() < 0.5:
        _bring_up(world, target)
    else:
        world.sites[target].gone = True


def left_alone(world: World, actors: Actors) -> Iterator[int]:
    """One endpoint answers for a while, then it loses all it held as the others come back."""
    survivor = world.random.choice(world.names)
    others = [name for name in world.names if name != survivor]
    for name in others:
        _take_down(world, name)
    yield world.random.randint(50, 300)
    for name in others:
        _bring_up(world, name)
    _wipe(world, survivor)
    world.spawn("resync", actors.resyncer(survivor, world.random.randint(0, 12)))


def betrayed(world: World, actors: Actors) -> Iterator[int]:
    """Half of what is sent arrives late, and right after something was acknowledged the primary loses all it held."""
    world.chances.late = 0.4
    world.chances.land = 0.005
    for _ in range(400):
        if any(actors.seen.acknowledged.values()):
            break
        yield 1
    _wipe(world, world.names[0])
    world.spawn("resync", actors.resyncer(world.names[0], world.random.randint(0, 12)))
    yield from _flap(world, 1)


def slow_endpoint(world: World, actors: Actors) -> Iterator[int]:
    """Calls take long to reach one endpoint; meanwhile another is wiped and refilled."""
    slow, other = world.random.sample(world.names, 2)
    world.sites[slow].slowness = 0.25
    yield world.random.randint(0, 200)
    _wipe(world, other)
    world.spawn("resync", actors.resyncer(other, 0))


def collected(world: World, actors: Actors) -> Iterator[int]:
    """Two collectors delete what nothing reaches, while writers write, die, and write the same bytes again."""
    world.chances.longest_sleep = 30
    for number in range(world.random.randint(1, 4)):
        world.spawn(f"rewriter {number}", actors.rewriter(f"job {number}"))
    for number in range(2):
        world.spawn(f"collector {number}", actors.collector(world.random.randint(0, 300)))
    yield from _flap(world, 1)


def rotten(world: World, actors: Actors) -> Iterator[int]:
    """Copies rot one after the other at one endpoint, while a scrub goes round and a collector too."""
    world.chances.longest_sleep = 30
    world.spawn("scrubber", actors.scrubber(world.random.randint(0, 100)))
    if world.random.random() < 0.5:
        world.spawn("collector", actors.collector(world.random.randint(0, 300)))
    site = world.sites[world.random.choice(world.names)]
    for _ in range(world.random.randint(3, 12)):
        yield world.random.randint(10, 80)
        keys = sorted(
            key for key in site.held if key.split("/")[1:2] and key.split("/")[1] in ("obj", "man", "run", "log")
        )
        if keys:
            _rot(world, site, world.random.choice(keys))


def all_at_once(world: World, actors: Actors) -> Iterator[int]:
    """Outages, a move, a wipe and another move."""
    draw, choice = world.random.random, world.random.choice
    yield from _flap(world, 1)
    if draw() < 0.6:
        world.spawn("mover", actors.mover(choice(world.names), world.random.randint(0, 20)))
    if draw() < 0.6:
        name = choice(world.names)
        _wipe(world, name)
        world.spawn("resync", actors.resyncer(name, world.random.randint(0, 12)))
    yield world.random.randint(0, 40)
    if draw() < 0.5:
        world.spawn("second mover", actors.mover(choice(world.names), world.random.randint(0, 10)))
    yield from _flap(world, 2)


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        outages,
        wiped,
        wiped_primary,
        moved,
        moved_from_slow,
        moved_from_dead,
        two_movers,
        moved_then_lost,
        left_alone,
        betrayed,
        slow_endpoint,
        collected,
        rotten,
        all_at_once,
    )
}


def play(world: World, actors: Actors, scenario: Scenario) -> Callable[[], None]:
    """Return the scenario as a process."""

    def run() -> None:
        # Early in some seeds, after most has been acknowledged in others.
        world.pause(world.random.choice((20, 200, 600)) * world.random.randint(0, 3) // 3)
        for ticks in scenario(world, actors):
            world.pause(ticks)

    return run


def _flap(world: World, times: int) -> Iterator[int]:
    for _ in range(times):
        yield world.random.randint(5, 60)
        if all(site.up for site in world.sites.values()):
            name = world.random.choice(world.names)
            _take_down(world, name)
            yield world.random.randint(5, 80)
            _bring_up(world, name)


def _take_down(world: World, name: str) -> None:
    world.sites[name].up = False
    world.note(f"DOWN {name}")


def _bring_up(world: World, name: str) -> None:
    site = world.sites[name]
    site.up = not site.gone
    world.note(f"UP {name}")


def _rot(world: World, site: Site, key: str) -> None:
    data, modified = site.held[key]
    place = world.random.randrange(len(data))
    site.held[key] = (data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], modified)
    world.note(f"ROT {site.name} {key}")


def _wipe(world: World, name: str) -> None:
    site = world.sites[name]
    site.held.clear()
    site.up = True
    world.note(f"WIPE {name}")
