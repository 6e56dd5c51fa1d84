"""Parts of a page: read at once, never waited for longer than agreed, kept while they are fresh."""

from __future__ import annotations

import threading
import time

import pytest

from operators.core.overview import parts
from operators.core.overview.parts import Parts


def read(known: Parts, key: str, reader, fresh_seconds: float = 60.0, wait: float = 5.0):
    known.begin(key, reader, fresh_seconds)
    return known.collect(key, known.now() + wait)


def test_a_part_that_hangs_is_late_and_the_others_are_there() -> None:
    """Whoever hangs costs a page what was agreed to wait, once for all its parts."""
    known, release = Parts(), threading.Event()
    known.begin("hangs", release.wait, 60)
    known.begin("answers", lambda: 7, 60)
    begun = time.monotonic()
    until = known.now() + 0.2

    late, answered = known.collect("hangs", until), known.collect("answers", until)

    assert time.monotonic() - begun < 1.0
    assert (late.is_late, late.is_known) == (True, False)
    assert (answered.value, answered.is_late) == (7, False)
    release.set()


def test_a_key_that_hangs_is_not_asked_a_second_time() -> None:
    """However many people reload a page, one thread waits for what hangs."""
    known, release, calls = Parts(), threading.Event(), []

    def hang() -> bool:
        calls.append(1)
        return release.wait()

    for _ in range(5):
        read(known, "hangs", hang, wait=0.01)

    assert len(calls) == 1
    release.set()


def test_a_fresh_part_is_not_read_again() -> None:
    """Within the time it may be old, a reading serves everybody; after that it is read anew."""
    now = [0.0]
    known, calls = Parts(clock=lambda: now[0]), []

    def count() -> int:
        calls.append(1)
        return len(calls)

    def ask() -> int:
        known.begin("part", count, 10)
        known._readings["part"].done.wait(5)
        return known.collect("part", now[0]).value

    first = ask()
    now[0] = 9.0
    second = ask()
    now[0] = 10.0

    assert (first, second, ask()) == (1, 1, 2)


def test_what_was_known_is_shown_with_its_age_when_a_later_reading_fails() -> None:
    """An endpoint that goes away takes nothing off the page but its freshness."""
    now = [0.0]
    known = Parts(clock=lambda: now[0])
    known.begin("part", lambda: "good", 1)
    known._readings["part"].done.wait(5)
    now[0] = 90.0

    def fail() -> str:
        raise ConnectionError("the endpoint is away")

    known.begin("part", fail, 1)
    known._readings["part"].done.wait(5)
    part = known.collect("part", now[0])

    assert (part.value, part.age_seconds, part.error) == ("good", 90.0, "ConnectionError: the endpoint is away")


def test_parts_nobody_asks_for_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page a night for years does not fill the memory."""
    monkeypatch.setattr(parts, "MOST_PARTS", 3)
    known = Parts()
    for number in range(10):
        read(known, f"night {number}", lambda: "read")

    assert list(known._readings) == ["night 7", "night 8", "night 9"]


def test_what_was_read_within_a_minute_is_not_waited_for() -> None:
    """Whoever looks again sees the page at once; what hangs now is only told of once it is old."""
    now = [0.0]
    known, release = Parts(clock=lambda: now[0]), threading.Event()
    known.begin("part", lambda: "good", 1)
    known._readings["part"].done.wait(5)
    now[0] = 10.0
    known.begin("part", release.wait, 1)
    begun = time.monotonic()
    soon = known.collect("part", now[0] + 30)
    now[0] = 70.0
    old = known.collect("part", now[0])

    assert time.monotonic() - begun < 5
    assert (soon.value, soon.is_late) == ("good", False)
    assert (old.value, old.is_late) == ("good", True)
    release.set()
