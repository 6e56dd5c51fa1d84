"""How fast a device multiplies in a precision, measured in a process of its own: it leaves no torch and no memory.

python -m operators.core.training.precision DEVICE HALF
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from operators.core.errors import WorkerLost
from operators.core.training.job import read_record, write_record
from operators.core.training.spec import Device, Precision

TOKENS, HIDDEN, INNER = 1024, 384, 1536
"""One layer's inner product of a small encoder, for a micro-batch."""
REPEATS = 20
WORTH = 0.8
"""Half precision rounds more, so it has to take at most this share of single precision's time."""
TIMEOUT_SECONDS = 300.0


def choose(seconds: Mapping[str, float], half: Precision) -> tuple[Precision, str]:
    """Return the precision to train in, and why.

    Args:
        seconds: Of one product in fp32 and in the half precision.
        half: What the device multiplies in hardware beside fp32.
    """
    ratio = seconds[half] / seconds["fp32"]
    chosen: Precision = half if ratio <= WORTH else "fp32"
    return chosen, f"{chosen}: a product takes {ratio:.2f} of fp32's time in {half}, {WORTH} is worth its rounding"


def remembered(record: Path, name: str, device: Device, half: Precision) -> dict[str, float]:
    """Return what was measured on a device the first time; the choice is in run keys, and times differ every time.

    Args:
        record: Where measurements lie, by the device's name.
        name: The device's.
        device: Kind of it.
        half: What to measure beside fp32.

    Raises:
        WorkerLost: The measuring process failed.
    """
    known = read_record(record) or {}
    if name not in known:
        known[name] = _measure_apart(device, half)
        record.parent.mkdir(parents=True, exist_ok=True)
        write_record(record, known)
    seconds: dict[str, float] = known[name]
    return seconds


def _measure_apart(device: Device, half: Precision) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, device, half]
    root = Path(__file__).resolve().parents[3]
    try:
        done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise WorkerLost(f"the speed of {device} in {half} could not be measured: {error}\n{error.stderr!s}") from error
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def measure(device: Device, half: Precision) -> dict[str, float]:
    """Return the seconds of a matrix product in fp32 and in a half precision: the best of many, on one thread."""
    import torch

    torch.set_num_threads(1)
    kinds = {"fp32": torch.float32, half: torch.bfloat16 if half == "bf16" else torch.float16}
    best: dict[str, float] = {}
    for name, kind in kinds.items():
        left, right = (torch.ones(shape, device=device, dtype=kind) for shape in ((TOKENS, HIDDEN), (HIDDEN, INNER)))
        times = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            # Reading a number waits for the device.
            (left @ right)[0, 0].item()
            times.append(time.perf_counter() - started)
        best[name] = min(times)
    return best


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))  # type: ignore[arg-type]
