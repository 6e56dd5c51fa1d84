"""Whether predictions could be had: what was answered to a watcher that asks every few seconds, counted by day.

Nothing is counted while nobody watches, and nothing of a model before it answered for the first time: what is told is
the share of the looks that found it ready, and how long it was looked at.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from operators.core.errors import DataError

FORMAT = 1
EVERY_SECONDS = 15
"""Between two looks; the counts of a history are multiples of it."""
KEPT_DAYS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """How often somebody looked, and how often it was there."""

    asked: int = 0
    answered: int = 0

    def plus(self, other: Looks) -> Looks:
        """Return both together."""
        return Looks(asked=self.asked + other.asked, answered=self.answered + other.answered)

    @property
    def share(self) -> float | None:
        """Return the share of the looks that found it ready, None where nobody looked."""
        return self.answered / self.asked if self.asked else None

    @property
    def watched_seconds(self) -> float:
        """Return for how long it was watched."""
        return float(self.asked * EVERY_SECONDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """The looks at each model, by the days of coordinated universal time; of the newest `KEPT_DAYS` alone."""

    days: Mapping[str, Mapping[str, Looks]] = field(default_factory=dict)

    def noting(self, model: str, at: datetime.datetime, is_ready: bool) -> History:
        """Return the history with one more look in it; a model that never was ready has none."""
        before, today = self.days.get(model, {}), _day(at)
        if not before and not is_ready:
            return self
        look = Looks(asked=1, answered=int(is_ready))
        oldest = _day(at - datetime.timedelta(days=KEPT_DAYS - 1))
        after = {**before, today: before.get(today, Looks()).plus(look)}
        kept = {**self.days, model: after}
        return History(days={name: {d: n for d, n in days.items() if d >= oldest} for name, days in kept.items()})

    def over(self, model: str, at: datetime.datetime, days: int) -> Looks:
        """Return the looks at a model on a day and on those before it, so many together."""
        oldest, found = _day(at - datetime.timedelta(days=days - 1)), Looks()
        for day, looks in self.days.get(model, {}).items():
            found = found.plus(looks) if oldest <= day <= _day(at) else found
        return found

    def encode(self) -> str:
        """Return the history as a document."""
        counts = {m: {d: [n.asked, n.answered] for d, n in sorted(days.items())} for m, days in self.days.items()}
        return json.dumps({"format": FORMAT, "every_seconds": EVERY_SECONDS, "models": counts}) + "\n"

    @classmethod
    def load(cls, path: Path) -> History:
        """Return the history of a file, an empty one where there is no file.

        Raises:
            DataError: The file holds no history.
        """
        try:
            document = json.loads(path.read_text())
            if (document["format"], document["every_seconds"]) != (FORMAT, EVERY_SECONDS):
                raise ValueError("another format")
            return cls(days={model: _looks(days) for model, days in document["models"].items()})
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} holds no history of looks ({type(error).__name__}): {error}") from None

    def save(self, path: Path) -> None:
        """Replace the file whole: a process that is killed leaves the one of before, or this one."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(self.encode())
        os.replace(temporary, path)


def _looks(days: Mapping[str, tuple[int, int]]) -> dict[str, Looks]:
    found = {datetime.date.fromisoformat(day).isoformat(): pair for day, pair in days.items()}
    if any(not 0 <= int(answered) <= int(asked) for asked, answered in found.values()):
        raise ValueError("more answers than questions")
    return {day: Looks(asked=int(asked), answered=int(answered)) for day, (asked, answered) in found.items()}


def _day(at: datetime.datetime) -> str:
    return at.astimezone(datetime.UTC).date().isoformat()
