"""B5: what a checkpoint costs the training beside which it is written.

An encoder of six layers of 384 (10.6 million trained parameters, 128 MB of state) on two gloo ranks, one thread each,
saved twenty times into a store of three directories, encrypted as a platform's is. A save is held against a bare copy
of the same tensors, made right before it; steps all through which a checkpoint was being written against steps all
through which none was. How long a write takes is told too, for it gives way to the steps: that of rank 0, which ends
when the entry is appended.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from operators.core.models.encoder import build_model
from operators.core.training.job import TrainingJob
from operators.core.training.loader import Batch, Loader, Plan
from operators.core.training.loop import Loop, Report
from operators.core.training.parts import take_part
from operators.core.training.saving import Saver
from operators.core.training.spec import LoopSpec
from operators.core.training.state import state_of
from operators.core.training.tokens import TokenTable, TokenTables
from tests.benchmarks.timing import parse, publish
from tests.core.training.gang import loop_spec, train
from tests.core.training.tiny import CONFIG

RANKS, ROWS, TOKENS = 2, 16, 32
SAVES, STEPS_BETWEEN, WARM_UP = 20, 24, 5
VOCABULARY = 30_522
MOST_BLOCKED, MOST_SLOWED = 3.0, 1.15
TIMES = "times.json"


class TimedLoop(Loop):
    """Notes what each step and each save took."""

    folder: Path

    def run(self, saver: Saver, report: Report, is_to_end: Callable[[], bool]) -> None:
        """Train, and leave the times of rank 0."""
        self._saver = saver
        self.times: dict[str, list[float]] = {"beside": [], "alone": [], "saves": [], "copies": [], "writes": []}
        super().run(saver, report, is_to_end)
        if self.is_first:
            (self.folder / TIMES).write_text(json.dumps(self.times))

    def _step(self, batch: Batch, asked: Sequence[bool]) -> tuple[float, list[bool]]:
        was_free, started = self._saver.is_free(), time.perf_counter()
        done = super()._step(batch, asked)
        seconds = time.perf_counter() - started
        if was_free == (is_free := self._saver.is_free()) and self.position.step > WARM_UP:
            self.times["alone" if is_free else "beside"].append(seconds)
        return done

    def _save(self, saver: Saver) -> None:
        rank = int(not self.is_first)
        part = take_part(state_of(self.model, self.optimiser), {}, rank, RANKS, 1)
        started = time.perf_counter()
        copies = [tensor.clone() for tensor in part.tensors.values()]
        copied = time.perf_counter()
        del part, copies
        began = time.perf_counter()
        super()._save(saver)
        self.times["copies"].append(copied - started)
        self.times["saves"].append(time.perf_counter() - began)
        assert saver._written is not None
        saver._written.add_done_callback(lambda _: self.times["writes"].append(time.perf_counter() - began))


def make_timed(folder: Path, spec: LoopSpec, rank: int, ranks: int) -> Loop:
    """Return one rank's loop of an encoder with random weights over random rows."""
    own = folder / str(rank)
    own.mkdir(exist_ok=True)
    shape = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12, "num_hidden_layers": 6}
    (own / "config.json").write_text(json.dumps(CONFIG | shape | {"vocab_size": VOCABULARY}))
    draw = np.random.default_rng(0)
    rows = ROWS * STEPS_BETWEEN
    tokens = [draw.integers(0, VOCABULARY, TOKENS).tolist() for _ in range(rows)]
    tables = TokenTables(own / "tokens", lambda shard: TokenTable.of(tokens, np.arange(rows) % 2))
    plan = Plan(shard_rows=(rows,), batch_size=ROWS, batch_by="rows", seed=0)
    # One an epoch.
    job = TrainingJob(run_key="0" * 64, inputs=(), loop=spec, ranks=ranks, labels=("a", "b"), checkpoint_steps=10**6)
    model = build_model(own, "text_classification", 2, dropout=spec.dropout)
    loop = TimedLoop(job, model, Loader(plan, tables, rank, ranks), torch.device("cpu"))
    loop.folder = folder
    return loop


def main() -> None:
    """Measure and print."""
    options = parse(__doc__)
    spec = loop_spec(
        RANKS, epochs=max(1, int(SAVES * options.scale)), batch_size=ROWS, schedule="constant", encoder_rate=1e-6
    )
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        train(Path(name), spec, make=make_timed, seconds=3600.0)
        times: dict[str, list[float]] = json.loads((Path(name) / TIMES).read_text())
    blocked = statistics.median(save / copy for save, copy in zip(times["saves"], times["copies"], strict=True))
    slowed = statistics.median(times["beside"]) / statistics.median(times["alone"])
    publish(
        {
            "name": "B5",
            "unit": "seconds",
            "ours": {way: _spread(many) for way, many in times.items()},
            "ratio": {"save to copy": round(blocked, 2), "step beside a write to step alone": round(slowed, 3)},
            "goal": {"save to copy": MOST_BLOCKED, "step beside a write to step alone": MOST_SLOWED},
            "met": blocked <= MOST_BLOCKED and slowed <= MOST_SLOWED and len(times["saves"]) >= SAVES,
            "scale": options.scale,
        }
    )


def _spread(seconds: list[float]) -> dict[str, Any]:
    return {
        "median": round(statistics.median(seconds), 4),
        "min": round(min(seconds), 4),
        "max": round(max(seconds), 4),
        "number": len(seconds),
    }


if __name__ == "__main__":
    main()
