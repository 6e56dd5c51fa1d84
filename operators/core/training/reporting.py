"""What rank 0 tells of each step: to the task that waits, to TensorBoard's event files, and to trackers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from operators.core.training import job as names
from operators.core.training.events import EVENTS, Events
from operators.core.training.job import TrainingJob, write_record
from operators.core.training.tracking import Feed, Row, TrackedRun

if TYPE_CHECKING:
    from operators.core.manifest import Manifest
    from operators.core.training.loop import Loop

REPORT_SECONDS = 0.5


class Reporter:
    """Notes each step and, twice a second, how far the training is and what it took.

    Args:
        folder: The job's.
        loop: What is reported on.
        keep: Puts down what the gang has spent.
        feeds: Of trackers; closed with the reporter.
    """

    def __init__(self, folder: Path, loop: Loop, keep: Callable[[], None], feeds: Sequence[Feed]) -> None:
        self._folder, self._loop, self._keep, self._feeds = folder, loop, keep, feeds
        name = f"events.out.tfevents.{int(loop.ledger.born * 1000)}.nightshift"
        self._events = Events(folder / EVENTS / name, loop.position.step + 1, loop.ledger.born)
        self._judged = len(loop.position.held_out_losses)
        self._last = 0.0

    def __call__(self, step: int, total: int, loss: float, speed: float) -> None:
        """Report a step that was taken."""
        row = Row(step, time.time(), self._seen(loss, speed))
        self._events.add(row.step, row.at, row.scalars)
        for feed in self._feeds:
            feed.add(row)
        if time.monotonic() - self._last < REPORT_SECONDS and step < total:
            return
        self._last = time.monotonic()
        self._events.flush()
        write_record(self._folder / names.PROGRESS, {"step": step, "total": total, "loss": loss, "speed": speed})
        self._keep()

    def close(self) -> None:
        """Have all that was reported in its place, as far as trackers take it."""
        self._events.close()
        for feed in self._feeds:
            feed.close(is_done=self._loop.is_over)

    def _seen(self, loss: float, speed: float) -> dict[str, float]:
        rate = self._loop.optimiser.param_groups[0]["lr"]
        seen = {"loss": loss, "rate": rate, "gradient_norm": self._loop.norm, "examples_per_second": speed}
        judged = self._loop.position.held_out_losses
        if len(judged) > self._judged:
            self._judged = len(judged)
            seen["held_out_loss"] = judged[-1]
        return seen | {"memory_bytes": _memory(self._loop.device)}


def silent(step: int, total: int, loss: float, speed: float) -> None:
    """Report nothing: the other ranks' losses are the same."""


def tracked(job: TrainingJob, dataset: Manifest) -> TrackedRun:
    """Return what trackers are told of a job, given its data set."""
    recipe, day = (str(dataset.facts.get(name, "")) for name in ("recipe", "day"))
    values = {name: getattr(job.loop, name) for name in job.loop.__dataclass_fields__}
    plain = {name: one if isinstance(one, str | int | float) else str(one) for name, one in values.items()}
    inputs = {item.role: item.manifest or item.identity for item in job.inputs}
    name = "-".join(filter(None, (recipe, day, job.run_key[:8])))
    return TrackedRun(name, job.run_key, {"recipe": recipe, "day": day, **plain, **inputs})


def _memory(device: torch.device) -> int:
    """Return the bytes that this rank holds: of its device where that has memory of its own, else of the machine."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
