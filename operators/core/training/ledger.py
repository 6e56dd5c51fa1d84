"""Where a training's seconds went: each moment of it is of one kind, over all its gangs and tries."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operators.core.training.job import read_record, write_record

if TYPE_CHECKING:
    from operators.core.training.energy import Meter
    from operators.core.training.flops import Work

RECORDS, BEGUN = "ledger", "begun.json"
"""In a job's folder: the gangs' records, and when its first try began."""
WAITING, IDLE = ("data", "saves", "others"), ("starting", "finishing")
KINDS = ("useful", "repeated", *WAITING, *IDLE)


class Ledger:
    """One gang's seconds, as its rank 0 spends them: whatever happens between two calls of `charge` is of one kind."""

    def __init__(self, born: float | None = None, reached: int = 0) -> None:
        """Begin to count.

        Args:
            born: When this process began, in seconds since 1970; now if None.
            reached: Steps that former gangs had done: what is done of them again is repeated.
        """
        now = time.time()
        self.born, self._reached, self.step = born or now, reached, 0
        self._since = time.perf_counter() - (now - self.born)
        self.seconds = dict.fromkeys(KINDS, 0.0)

    def charge(self, kind: str) -> None:
        """Let the time since the last call be of that kind."""
        now = time.perf_counter()
        self.seconds[kind] += now - self._since
        self._since = now

    def charge_step(self, step: int) -> None:
        """Let the time since the last call be of that step's work, done for the first time or again."""
        self.charge("useful" if step >= self._reached else "repeated")
        self.step = step + 1

    def write(self, folder: Path, work: Work, peak_flops: float, meter: Meter) -> None:
        """Put down what this gang has spent so far, in place of what it put down before.

        Args:
            folder: Of the gangs' records.
            work: What this rank has done.
            peak_flops: What the device does at most, as measured.
            meter: Of this gang's energy.
        """
        folder.mkdir(exist_ok=True)
        record = {
            "from": self.born,
            "until": self.born + sum(self.seconds.values()),
            "seconds": self.seconds,
            "reached": max(self.step, self._reached),
            "tokens": work.tokens,
            "flops": work.flops,
            "peak_flops": peak_flops,
            **meter.read(),
        }
        write_record(folder / f"{int(self.born * 1000)}.json", record)


def reached(folder: Path) -> int:
    """Return how many steps the gangs that have a record had done."""
    return max((record["reached"] for record in _records(folder)), default=0)


def account(folder: Path, begun: float, ended: float, ranks: int) -> dict[str, Any]:
    """Return what a training cost from its first try's begin to its last one's end.

    Args:
        folder: Of the gangs' records.
        begun: In seconds since 1970.
        ended: In seconds since 1970.
        ranks: As many as trained; the records are of one of them.
    """
    records = _records(folder)
    moments = [begun, *(record[end] for record in records for end in ("from", "until")), ended]
    # No gang is at work: before the first, between two, after the last.
    between = sum(end - start for start, end in list(pairwise(moments))[::2])
    seconds = {kind: sum(record["seconds"][kind] for record in records) for kind in KINDS}
    training = sum(seconds[kind] for kind in ("useful", "repeated", *WAITING))
    peak = max((record["peak_flops"] for record in records), default=0.0)
    tokens, flops = (sum(record[name] for record in records) for name in ("tokens", "flops"))
    rounded = {kind: round(value, 3) for kind, value in {**seconds, "between": between}.items()}
    return {
        "spent": {
            "useful": rounded["useful"],
            "repeated": rounded["repeated"],
            "waiting": {kind: rounded[kind] for kind in WAITING},
            "idle": {kind: rounded[kind] for kind in (*IDLE, "between")},
        },
        "tokens_per_second": round(tokens * ranks / training, 1) if training else None,
        "flops_utilisation": round(flops / training / peak, 4) if training and peak else None,
        "peak_flops": round(peak),
        **_energy(records),
    }


def _energy(records: list[dict[str, Any]]) -> dict[str, Any]:
    if not records or any(record["joules"] is None for record in records):
        return {"joules": None, "energy": "unknown"}
    return {"joules": round(sum(record["joules"] for record in records), 1), "energy": records[-1]["energy"]}


def _records(folder: Path) -> list[dict[str, Any]]:
    found = [read_record(path) for path in folder.glob("*.json")]
    return sorted(filter(None, found), key=lambda record: float(record["from"]))
