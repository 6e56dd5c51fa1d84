"""What this machine offers to training, found without loading torch unless there is a GPU to ask about."""

from __future__ import annotations

import os
from pathlib import Path

from operators.core.training.spec import Machine

BF16_FLAGS = ("avx512_bf16", "amx_bf16")
"""Flags of CPUs that multiply bf16 in hardware; others emulate it, slower than fp32."""


def this_machine() -> Machine:
    """Return this process's share of the machine."""
    gpus, has_bf16 = _gpus() if Path("/dev/nvidiactl").exists() else (0, False)
    return Machine(cores=len(os.sched_getaffinity(0)), gpus=gpus, has_bf16=has_bf16 if gpus else cpu_has_bf16())


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether every listed core multiplies bf16 in hardware."""
    try:
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")]
    except OSError:
        return False
    return bool(lines) and all(set(BF16_FLAGS) & set(line.split()) for line in lines)


def _gpus() -> tuple[int, bool]:
    import torch

    count = torch.cuda.device_count()
    return count, all(torch.cuda.get_device_capability(index) >= (8, 0) for index in range(count))
