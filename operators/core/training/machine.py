"""What this machine offers to training, found without loading torch unless there is a GPU to ask about."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

from operators.core.training.precision import choose, remembered
from operators.core.training.spec import Machine, Precision

BF16_FLAGS = ("avx512_bf16", "amx_bf16")
"""Flags of CPUs that multiply bf16 in hardware; others emulate it, slower than fp32."""
CPUINFO = Path("/proc/cpuinfo")


def this_machine(scratch: Path) -> Machine:
    """Return this process's share of the machine.

    Args:
        scratch: Where the measured speed of half precision is remembered.

    Raises:
        WorkerLost: That speed could not be measured.
    """
    gpus, name, half = _gpus() if Path("/dev/nvidiactl").exists() else (0, "", None)
    if not gpus:
        name, half = cpu_name(), "bf16" if cpu_has_bf16() else None
    precision: Precision = "fp32"
    why = f"fp32: {name} multiplies nothing smaller in hardware"
    if half is not None:
        key = f"{name}, torch {version('torch')}"
        seconds = remembered(scratch / "precision.json", key, "cuda" if gpus else "cpu", half)
        precision, why = choose(seconds, half)
    return Machine(cores=len(os.sched_getaffinity(0)), gpus=gpus, precision=precision, why=why)


def cpu_has_bf16(cpuinfo: Path = CPUINFO) -> bool:
    """Return whether every listed core multiplies bf16 in hardware."""
    flags = _entries(cpuinfo, "flags")
    return bool(flags) and all(set(BF16_FLAGS) & set(entry.split()) for entry in flags)


def cpu_name(cpuinfo: Path = CPUINFO) -> str:
    """Return what the processor calls itself."""
    return next(iter(_entries(cpuinfo, "model name")), "this CPU")


def _entries(cpuinfo: Path, key: str) -> list[str]:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip() == key]


def _gpus() -> tuple[int, str, Precision | None]:
    """Return how many GPUs there are, the first one's name, and what all multiply in hardware beside fp32."""
    import torch

    count = torch.cuda.device_count()
    if not count:
        return 0, "", None
    capability = min(torch.cuda.get_device_capability(index) for index in range(count))
    half: Precision | None = "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else None
    return count, torch.cuda.get_device_name(0), half
