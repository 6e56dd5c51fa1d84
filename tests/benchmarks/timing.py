"""How two commands are compared: alternately, each a process of its own, with what else the machine does in sight."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from operators.local.layout import Layout

BUSY_PER_CORE = 0.3
"""Share of a core that others may use; with more, ratios say more about them than about us."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one process cost."""

    wall_seconds: float
    cpu_seconds: float
    """Its own and its children's; not the servers'."""
    peak_mebibytes: float
    """Of the largest process, and no less than that of the one that measures: Linux counts from before the start."""


def measure(command: Sequence[str]) -> Sample:
    """Run a command to its end.

    Raises:
        RuntimeError: It failed; the message ends with what it said.
    """
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{output[-2000:]}")
    return Sample(
        wall_seconds=time.perf_counter() - started,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_mebibytes=usage.ru_maxrss / 1024,
    )


def alternate(ways: Mapping[str, Callable[[], Sample]], pairs: int) -> dict[str, list[Sample]]:
    """Run each way in turn, again and again, so that what disturbs the machine disturbs all of them."""
    samples: dict[str, list[Sample]] = {name: [] for name in ways}
    for number in range(pairs):
        for name, way in ways.items():
            samples[name].append(way())
            print(f"{number + 1}/{pairs} {name}: {samples[name][-1].wall_seconds:.2f} s", file=sys.stderr, flush=True)
    return samples


def compare(
    name: str,
    samples: dict[str, list[Sample]],
    goal: dict[str, float],
    limit: dict[str, float],
    *,
    share: float = 1.0,
    scale: float = 1.0,
) -> dict[str, Any]:
    """Return what a benchmark came to, as docs/architecture.md, section 8, has it.

    Args:
        name: Of the benchmark.
        samples: By way, in pairs; ours is called `ours`, the answers of all are equal.
        goal: The most that our time may be of a rival's.
        limit: What the machine can do, by what was measured.
        share: Part of our time that is compared: half, where we make two copies and the rival one.
        scale: Of the data; a goal is met at full scale only.
    """
    rivals = {way: many for way, many in samples.items() if way != "ours"}
    ratios = {
        way: statistics.median(
            own.wall_seconds * share / other.wall_seconds for own, other in zip(samples["ours"], many, strict=True)
        )
        for way, many in rivals.items()
    }
    return {
        "name": name,
        "unit": "seconds",
        "ours": _spread(samples["ours"]),
        "rivals": {way: _spread(many) for way, many in rivals.items()},
        "ratio": {way: round(ratio, 3) for way, ratio in ratios.items()},
        "limit": limit,
        "equal": True,
        "goal": goal,
        "met": scale >= 1 and all(ratios[way] <= most for way, most in goal.items()),
        "scale": scale,
    }


def _spread(samples: Sequence[Sample]) -> dict[str, float]:
    walls = [sample.wall_seconds for sample in samples]
    return {
        "median": round(statistics.median(walls), 3),
        "min": round(min(walls), 3),
        "max": round(max(walls), 3),
        "pairs": len(walls),
        "cpu_seconds": round(statistics.median(sample.cpu_seconds for sample in samples), 3),
        "peak_mebibytes": round(max(sample.peak_mebibytes for sample in samples), 1),
    }


def disk_limit(folder: Path, mebibytes: int = 512) -> float:
    """Return how many MiB a second one stream writes and syncs here."""
    block, path = os.urandom(1 << 20), folder / "limit"
    started = time.perf_counter()
    with path.open("wb", buffering=0) as target:
        for _ in range(mebibytes):
            target.write(block)
        os.fsync(target.fileno())
    seconds = time.perf_counter() - started
    path.unlink()
    return round(mebibytes / seconds, 1)


def parse(description: str | None, *, ways: Sequence[str] = (), keeps: bool = False) -> argparse.Namespace:
    """Read the command line that all benchmarks have; refuse a machine that others use.

    Exits with 2 where others use the machine.

    Args:
        description: Of the benchmark.
        ways: What `--only` chooses from, where a benchmark can be run in parts.
        keeps: Whether there is `--keep`, for a benchmark that makes for long what it then times.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--pairs", type=int, default=5, help="how often each way is run (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the data; below 1 the figures are no result")
    parser.add_argument("--busy", action="store_true", help="measure although the machine is busy")
    if ways:
        told = "of what is measured, only this (may be repeated)"
        parser.add_argument("--only", action="append", choices=ways, help=told)
    if keeps:
        told = "folder where the models stay, to be timed by another run; --pairs 0 makes them and times nothing"
        parser.add_argument("--keep", type=Path, help=told)
    options = parser.parse_args()
    busy = psutil.cpu_percent(interval=2.0) / 100 * (os.cpu_count() or 1)
    if busy > BUSY_PER_CORE * (os.cpu_count() or 1) and not options.busy:
        print(f"others use {busy:.2f} cores: not measured (--busy measures all the same)", file=sys.stderr)
        raise SystemExit(2)
    return options


def publish(document: dict[str, Any]) -> None:
    """Write a result to `bench/<name>.json` below the platform's folder, and print it."""
    environment = {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }
    text = json.dumps({**document, "environment": environment}, indent=1)
    folder = Layout.from_environment(os.environ).home / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{document['name']}.json").write_text(text + "\n")
    print(text, flush=True)
