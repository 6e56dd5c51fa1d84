"""B4: what a SIGKILL costs a training: steps that have to be done again, and the time until the next new one can begin.

MiniLM on Banking77 as B1 trains it, a checkpoint every twenty steps into a store in a directory. Killed at a drawn step
is one of two ranks, which its launcher starts again, or launcher and ranks at once, which the task's retry does. Steps
lost are counted from the last one told to the step that the training goes on from; the restart lasts from the kill to
the first step done. Beside it stands what no restart can do without: starting an interpreter, and importing torch and
what else a rank needs.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from operators.core.errors import WorkerLost
from operators.core.finetuning.fine_tune import fine_tune
from operators.core.finetuning.spec import TrainingSpec
from operators.core.models.adopt import adopt_model
from operators.core.models.known import ALL_MINILM_L6_V2
from operators.core.progress import no_progress
from operators.core.storage import open_store
from operators.core.training import job as names
from operators.core.training import launcher
from operators.core.training.job import read_record
from operators.core.training.machine import this_machine
from operators.local.base_model import fetch_base_model
from operators.local.layout import Layout
from tests.benchmarks.shard_io import make_store
from tests.benchmarks.timing import measure, parse, publish
from tests.core.training.banking import FOLDER, NEEDED, publish_banking

INTERVAL, RANKS = 20, 2
SPEC = TrainingSpec(epochs=10, max_length=64, dropout=0.0, checkpoint_steps=INTERVAL, ranks=RANKS)
MOST_SECONDS = 900.0
POLL_SECONDS = 0.02
Victim = Literal["rank", "launcher"]
NEEDED_FIRST = {
    "interpreter": "pass",
    "torch": "import torch",
    "all libraries": "from operators.core.training.worker import load_libraries; load_libraries('text_classification')",
}
"""What a restart cannot do without, each with what came before it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one kill cost."""

    lost_steps: int
    restart_seconds: float


class Bed:
    """A store with the base model and the data set, and a scratch folder for trainings."""

    def __init__(self, folder: Path) -> None:
        layout = Layout.from_environment(os.environ)
        self._settings, self._scratch = make_store(folder / "store"), folder / "scratch"
        self._store = open_store(self._settings)
        base = fetch_base_model(layout.home / "downloads", layout.home / "models")
        self._base = adopt_model(self._store, base, ALL_MINILM_L6_V2, no_progress).digest
        self._dataset = publish_banking(self._store)
        self._machine = this_machine(self._scratch)

    def kill(self, victim: Victim, number: int) -> Cost:
        """Have a training of its own run key killed at a drawn step, and go on; return what that cost."""
        # From the first checkpoint on, anywhere in an interval.
        at = 2 * INTERVAL + random.Random(f"{victim} {number}").randrange(INTERVAL)
        ended = threading.Event()
        # Another run key each: what one has in the store must not help the next.
        task = threading.Thread(target=self._task, args=(2 * number + (victim == "rank"), ended))
        task.start()
        try:
            folder = self._wait_for_step(at)
            told = _step(folder)
            killed = time.perf_counter()
            _kill(folder, victim)
            resumed = _resumed(folder)
            return Cost(max(0, told - resumed), time.perf_counter() - killed)
        finally:
            ended.set()
            for one in self._scratch.glob("training/*"):
                launcher.terminate(one)
            task.join()
            shutil.rmtree(self._scratch / "training", ignore_errors=True)

    def _task(self, seed: int, ended: threading.Event) -> None:
        """Fine-tune as the task does, and its retries."""
        while not ended.is_set():
            with contextlib.suppress(WorkerLost):
                fine_tune(
                    self._store,
                    self._settings,
                    replace(SPEC, seed=seed),
                    dataset=self._dataset,
                    base_model=self._base,
                    scratch=self._scratch,
                    progress=no_progress,
                    account={},
                    machine=self._machine,
                )

    def _wait_for_step(self, step: int) -> Path:
        deadline = time.monotonic() + MOST_SECONDS
        while time.monotonic() < deadline:
            for folder in self._scratch.glob("training/*"):
                if _step(folder) >= step:
                    return folder
            time.sleep(POLL_SECONDS)
        raise RuntimeError(f"no training came to step {step} within {MOST_SECONDS:g} s")


def _step(folder: Path) -> int:
    return int((read_record(folder / names.PROGRESS) or {"step": 0})["step"])


def _kill(folder: Path, victim: Victim) -> None:
    """Kill a rank, or all that trains in a folder."""
    record = read_record(folder / names.LAUNCHER)
    assert record is not None, "a training that makes steps has a launcher"
    ranks = [one for one in psutil.Process(record["pid"]).children() if "training.launch" in " ".join(one.cmdline())]
    if victim == "rank":
        ranks[-1].send_signal(signal.SIGKILL)
    else:
        os.killpg(record["pid"], signal.SIGKILL)


def _resumed(folder: Path) -> int:
    """Return the step that a killed training has gone on from, once the first one after it is done."""

    def found() -> list[str]:
        return re.findall(r"resumed at step (\d+) of", (folder / names.LOG).read_text(errors="replace"))

    _wait(lambda: bool(found()))
    # What a dying gang told last is no step of the next one.
    (folder / names.PROGRESS).unlink()
    _wait(lambda: _step(folder) > 0)
    return int(found()[-1])


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"a killed training did not go on within {MOST_SECONDS:g} s")
        time.sleep(POLL_SECONDS)


def _started(code: str) -> float:
    return measure([sys.executable, "-c", code]).wall_seconds


def main() -> None:
    """Measure and print."""
    options = parse(__doc__)
    if not FOLDER.is_dir():
        raise SystemExit(NEEDED)
    victims: tuple[Victim, ...] = ("rank", "launcher")
    costs: dict[Victim, list[Cost]] = {victim: [] for victim in victims}
    first: dict[str, list[float]] = {name: [] for name in NEEDED_FIRST}
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        bed = Bed(Path(name))
        for number in range(options.pairs):
            for victim in victims:
                costs[victim].append(bed.kill(victim, number))
                print(f"{number + 1}/{options.pairs} {victim}: {costs[victim][-1]}", file=sys.stderr, flush=True)
            for what, code in NEEDED_FIRST.items():
                first[what].append(_started(code))
    most = max(cost.lost_steps for many in costs.values() for cost in many)
    publish(
        {
            "name": "B4",
            "unit": "seconds from the kill to the first step done",
            "ours": {victim: _spread(many) for victim, many in costs.items()},
            "limit": {f"start: {what}": round(statistics.median(many), 2) for what, many in first.items()},
            "goal": {"lost steps to a checkpoint's interval": 1.0},
            "ratio": {"lost steps to a checkpoint's interval": round(most / INTERVAL, 3)},
            "met": most <= INTERVAL,
            "interval_steps": INTERVAL,
        }
    )


def _spread(costs: list[Cost]) -> dict[str, Any]:
    seconds = [cost.restart_seconds for cost in costs]
    return {
        "median": round(statistics.median(seconds), 2),
        "min": round(min(seconds), 2),
        "max": round(max(seconds), 2),
        "pairs": len(costs),
        "lost_steps": [cost.lost_steps for cost in costs],
    }


if __name__ == "__main__":
    main()
