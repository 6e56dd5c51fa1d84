"""What a probe tries, one check after the other, all below a scratch prefix of its own."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from operators.core.storage.endpoint import Endpoint

_WRITERS = 16
_OLD_SECONDS = 3600
_LARGE_BYTES = 8 * 1024**2
_LARGE_COUNT = 2
_NOTED_OFFSET_SECONDS, _REFUSED_OFFSET_SECONDS = 60, 300


class Weight(Enum):
    """What a finding means for the endpoint."""

    FINE = "fine"
    NOTE = "note"
    NO_PRIMARY = "no primary"
    NO_MEMBER = "no member"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was found out."""

    check: str
    weight: Weight
    words: str


@runtime_checkable
class Examined(Protocol):
    """What only a server can be asked."""

    def traits(self) -> dict[str, str]:
        """Return what it says of itself."""

    def try_wrong_checksum(self, key: str) -> str:
        """Return what it does with bytes that are not those of their checksum."""


class Checks:
    """One probe: its scratch prefix, and what it found so far."""

    def __init__(self, endpoint: Endpoint, scratch: str, rounds: int, clock: Callable[[], float]) -> None:
        self._endpoint, self._scratch, self._rounds, self._clock = endpoint, scratch, rounds, clock
        self.findings: list[Finding] = []
        self.figures: dict[str, float] = {}
        self.traits: dict[str, str] = {}
        self._taken: dict[str, list[float]] = {}

    def note(self, check: str, weight: Weight, words: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(check=check, weight=weight, words=words))

    def _judge(self, check: str, wrong: list[str], weight: Weight, fine: str) -> None:
        words = f"{wrong[0]}{f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''}" if wrong else fine
        self.note(check, weight if wrong else Weight.FINE, words)

    def keys(self) -> None:
        """Try keys at the edges of our alphabet: each is kept, listed and removed under its own name."""
        parts = ("a", "-", "_", ".x", "x..y", "0", "a.", "z" * 128, "/".join(["d" * 128] * 5))
        made = {f"{self._scratch}keys/{part}": f"value of {part[:20]}".encode() for part in parts}
        for key, value in made.items():
            self._endpoint.put(key, value)
        listed = [found.key for found in self._endpoint.list(f"{self._scratch}keys/")]
        wrong = [f"{key[-24:]} reads as something else" for key in made if self._endpoint.get(key) != made[key]]
        wrong += [] if sorted(made) == listed else ["the listing does not name them all, or others"]
        self._judge("keys", wrong, Weight.NO_MEMBER, f"{len(made)} odd ones kept, listed, removed")

    def races(self) -> None:
        """Let many writers put one key if it is absent: exactly one is told that it won, and its value stays."""
        wrong: list[str] = []
        with ThreadPoolExecutor(_WRITERS) as pool:
            for number in range(self._rounds):
                key = f"{self._scratch}race/{number}"
                values = [b"writer %d" % writer for writer in range(_WRITERS)]
                told = list(pool.map(lambda value: self._endpoint.put_if_absent(key, value), values))  # noqa: B023
                winners = [value for value, won in zip(values, told, strict=True) if won]
                held = self._endpoint.get(key)
                self._endpoint.put_if_absent(key, b"one who comes late")
                if len(winners) != 1:
                    wrong.append(f"{len(winners)} of {_WRITERS} writers at once were told that they had won")
                elif held != winners[0] or self._endpoint.get(key) != held:
                    wrong.append("the winner's value was overwritten")
        self._judge("put_if_absent", wrong, Weight.NO_PRIMARY, f"one winner in each of {self._rounds} races")

    def consistency(self) -> None:
        """Read, list and delete right after writing: each answer is of now, not of a moment ago."""
        wrong: list[str] = []
        for number in range(self._rounds):
            folder = f"{self._scratch}fresh/{number}/"
            with self._timed("put_ms"):
                self._endpoint.put(f"{folder}key", b"first")
            with self._timed("get_ms"):
                first = self._endpoint.get(f"{folder}key")
            self._endpoint.put(f"{folder}key", b"second")
            second = self._endpoint.get(f"{folder}key")
            with self._timed("list_ms"):
                listed = self._endpoint.list(folder)
            size = self._endpoint.size(f"{folder}key")
            self._endpoint.delete(f"{folder}key")
            if (first, second, size, len(listed)) != (b"first", b"second", 6, 1):
                wrong.append("what was just written is not what is read or listed")
            if self._endpoint.get(f"{folder}key") is not None or self._endpoint.list(folder):
                wrong.append("what was just deleted is still read or listed")
        fine = f"{self._rounds} times what was written, then that it is gone"
        self._judge("read after write", wrong, Weight.NO_MEMBER, fine)

    def checksums(self) -> None:
        """Send bytes with another checksum: a server refuses them, or at least does not vouch for them."""
        if not isinstance(self._endpoint, Examined):
            return
        outcome = self._endpoint.try_wrong_checksum(f"{self._scratch}checksum")
        weight, words = {
            "refused": (Weight.FINE, "wrong ones are refused"),
            "stored": (Weight.NOTE, "not checked by the server: every write is read back, which doubles the traffic"),
            "vouched": (Weight.NO_MEMBER, "the server says that it checked one that is wrong"),
        }[outcome]
        self.note("checksums", weight, words)

    def time(self) -> None:
        """Compare clocks: leases and the collector's grace are measured by the endpoint's."""
        before = self._clock()
        there = self._endpoint.clock()
        offset = there - (before + self._clock()) / 2
        self.figures["clock_offset_seconds"] = round(offset, 3) + 0.0  # no -0
        if abs(offset) > _REFUSED_OFFSET_SECONDS:
            self.note("clock", Weight.NO_MEMBER, f"{offset:+.0f} s off, more than {_REFUSED_OFFSET_SECONDS}: set it")
        elif abs(offset) > _NOTED_OFFSET_SECONDS:
            self.note("clock", Weight.NOTE, f"{offset:+.0f} s off, more than {_NOTED_OFFSET_SECONDS}: set it soon")
        else:
            self.note("clock", Weight.FINE, f"{offset:+.1f} s off")

    def throughput(self) -> None:
        """Write and read bytes that nothing can compress."""
        data = os.urandom(_LARGE_BYTES)
        keys = [f"{self._scratch}large/{number}" for number in range(_LARGE_COUNT)]
        mebibytes = _LARGE_COUNT * _LARGE_BYTES / 1024**2
        started = time.monotonic()
        for key in keys:
            self._endpoint.put(key, data)
        written = time.monotonic()
        wrong = [f"{len(data)} bytes read back as others" for key in keys if self._endpoint.get(key) != data]
        self.figures["write_mib_per_second"] = round(mebibytes / (written - started), 1)
        self.figures["read_mib_per_second"] = round(mebibytes / (time.monotonic() - written), 1)
        self._judge("large objects", wrong, Weight.NO_MEMBER, f"{len(keys)} of {_LARGE_BYTES // 1024**2} MiB")

    def server(self) -> None:
        """Note what the server says of itself, and figures of the small requests."""
        self.figures |= {name: round(statistics.median(taken), 2) for name, taken in self._taken.items()}
        if isinstance(self._endpoint, Examined):
            self.traits = self._endpoint.traits()
            if self.traits["transport"] == "plain":
                self.note("transport", Weight.NOTE, "plain HTTP to another machine: bytes and names travel in the open")

    def clean_up(self) -> None:
        """Leave nothing of this probe, and nothing of one that died an hour ago."""
        before = self._endpoint.clock() - _OLD_SECONDS
        top = f"{self._scratch.split('/', 1)[0]}/"
        for found in self._endpoint.list(top):
            if found.key.startswith(self._scratch) or found.modified < before:
                self._endpoint.delete(found.key)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._taken.setdefault(name, []).append(1000 * (time.perf_counter() - started))
