"""Parts of a page, each read in a thread of its own: one that is slow or fails keeps nobody from the others.

A part is read again once it is older than it may be. Until a new reading is there, the last one is given, with its age.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

GOOD_SECONDS = 60.0
"""What was read within the last minute is shown at once, while a newer reading is under way."""

MOST_PARTS = 512
"""Kept in memory; of more, those that were not asked for the longest are forgotten."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What is known of one part now."""

    value: Any = None
    """What was read last; None before the first reading."""
    age_seconds: float | None = None
    """Since that was read; None before the first reading."""
    error: str | None = None
    """Why the newest reading failed; None where it did not, or is under way."""
    is_late: bool = False
    """Whether a reading is still under way, and what is known is old, or nothing."""

    @property
    def is_known(self) -> bool:
        """Say whether it was ever read."""
        return self.age_seconds is not None


class Parts:
    """Readings by key, shared by all requests. A key is read by one thread at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._readings: OrderedDict[Hashable, _Reading] = OrderedDict()

    def begin(self, key: Hashable, read: Callable[[], Any], fresh_seconds: float) -> None:
        """Have a part read, unless it was within so many seconds or is being read now; returns at once."""
        with self._lock:
            reading = self._readings.setdefault(key, _Reading())
            self._readings.move_to_end(key)
            while len(self._readings) > MOST_PARTS:
                self._readings.popitem(last=False)
            is_fresh = reading.read_at is not None and self._clock() - reading.read_at < fresh_seconds
            if is_fresh or not reading.done.is_set():
                return
            reading.done.clear()
        # A daemon: a server that hangs must not keep the process from ending.
        threading.Thread(target=self._run, args=(reading, read), name=f"part {key}", daemon=True).start()

    def collect(self, key: Hashable, until: float) -> Part:
        """Return what is known of a part that was begun.

        A reading under way is waited for until the clock says `until`, unless what is known is good enough.

        Args:
            key: Of the part.
            until: In the clock's seconds.
        """
        with self._lock:
            reading = self._readings[key]
        if not self._is_good(reading):
            reading.done.wait(max(0.0, until - self._clock()))
        with self._lock:
            return Part(
                value=reading.value,
                age_seconds=self._age(reading),
                error=reading.error,
                is_late=not (reading.done.is_set() or self._is_good(reading)),
            )

    def now(self) -> float:
        """Return the clock's seconds."""
        return self._clock()

    def _age(self, reading: _Reading) -> float | None:
        return None if reading.read_at is None else self._clock() - reading.read_at

    def _is_good(self, reading: _Reading) -> bool:
        age = self._age(reading)
        return age is not None and age < GOOD_SECONDS

    def _run(self, reading: _Reading, read: Callable[[], Any]) -> None:
        try:
            value, error = read(), None
        except Exception as failure:  # whatever it is, the page says it and shows the other parts
            value, error = None, f"{type(failure).__name__}: {failure}"
        with self._lock:
            reading.error = error
            if error is None:
                reading.value, reading.read_at = value, self._clock()
            reading.done.set()


class _Reading:
    """The state of one key."""

    def __init__(self) -> None:
        self.value: Any = None
        self.read_at: float | None = None
        self.error: str | None = None
        self.done = threading.Event()
        self.done.set()
