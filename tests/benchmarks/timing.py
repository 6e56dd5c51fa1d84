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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

BUSY_PER_CORE = 0.3
"""Share of a core that others may use; with more, ratios say more about them than about us."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one process cost."""

    wall_seconds: float
    cpu_seconds: float
    """Its own and its children's; not the servers'."""
    peak_mebibytes: float


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


def alternate(ways: dict[str, Callable[[], Sample]], pairs: int) -> dict[str, list[Sample]]:
    """Run each way in turn, again and again, so that what disturbs the machine disturbs all of them."""
    samples: dict[str, list[Sample]] = {name: [] for name in ways}
    for number in range(pairs):
        for name, way in ways.items():
            samples[name].append(way())
            print(f"{number + 1}/{pairs} {name}: {samples[name][-1].wall_seconds:.2f} s", file=sys.stderr, flush=True)
    return samples


def against(samples: dict[str, list[Sample]], ours: str, rival: str, *, share: float = 1.0) -> dict[str, Any]:
    """Return how our time compares with a rival's: below 1 is faster.

    Args:
        samples: By way, in pairs.
        ours: Our way.
        rival: The other.
        share: Part of our time that is compared: half, where we make two copies and the rival one.
    """
    ratios = [a.wall_seconds * share / b.wall_seconds for a, b in zip(samples[ours], samples[rival], strict=True)]
    return {
        "of_time": round(statistics.median(ratios), 3),
        "least": round(min(ratios), 3),
        "most": round(max(ratios), 3),
        "pairs": len(ratios),
    }


def medians(samples: dict[str, list[Sample]]) -> dict[str, dict[str, float]]:
    """Return each way's median costs."""
    return {
        name: {field: round(statistics.median(asdict(one)[field] for one in many), 3) for field in asdict(many[0])}
        for name, many in samples.items()
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


def parse(description: str | None) -> argparse.Namespace:
    """Read the command line that all benchmarks have; refuse a busy machine.

    Exits with 2 where others use the machine.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--pairs", type=int, default=5, help="how often each way is run (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the data; below 1 the figures are no result")
    parser.add_argument("--busy", action="store_true", help="measure although the machine is busy")
    options = parser.parse_args()
    busy = psutil.cpu_percent(interval=2.0) / 100 * (os.cpu_count() or 1)
    if busy > BUSY_PER_CORE * (os.cpu_count() or 1) and not options.busy:
        print(f"others use {busy:.2f} cores: not measured (--busy measures all the same)", file=sys.stderr)
        raise SystemExit(2)
    return options


def report(name: str, options: argparse.Namespace, figures: dict[str, Any]) -> None:
    """Print the figures as one line of JSON, with the machine that they are of."""
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2), "python": platform.python_version()}
    print(json.dumps({"benchmark": name, "scale": options.scale, "machine": machine, **figures}), flush=True)
