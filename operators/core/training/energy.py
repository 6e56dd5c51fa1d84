"""What a gang draws: measured where the devices tell, else estimated and called so."""

from __future__ import annotations

import time
from typing import Any

import torch

WATTS_PER_CORE = 10.0
"""What a busy core of a server is taken to draw, with its share of memory and power supply: a guess, not measured."""


def estimated_joules(cpu_seconds: float) -> float:
    """Return what seconds of a core's work are taken to draw."""
    return cpu_seconds * WATTS_PER_CORE


class Meter:
    """Energy of a gang from now on, read by its rank 0."""

    def __init__(self, device: torch.device, ranks: int) -> None:
        self._ranks = ranks
        self._is_cpu = device.type == "cpu"
        self._handles = [] if self._is_cpu else _handles(ranks)
        self._start = self._millijoules()

    def read(self) -> dict[str, Any]:
        """Return joules, and how they are known: by `nvml`, `estimated`, or `unknown` and None.

        Of CPU ranks: the seconds of this one's threads since its process began, times ranks, times `WATTS_PER_CORE`.
        """
        if self._is_cpu:
            return {"joules": estimated_joules(time.process_time() * self._ranks), "energy": "estimated"}
        if not self._handles:
            return {"joules": None, "energy": "unknown"}
        return {"joules": (self._millijoules() - self._start) / 1000, "energy": "nvml"}

    def _millijoules(self) -> int:
        if not self._handles:
            return 0
        import pynvml

        return sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in self._handles)


def _handles(ranks: int) -> list[Any]:
    """Return NVML's handles of the ranks' devices; none where NVML is not there or too old to tell energy."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return []
    try:
        pynvml.nvmlInit()
        uuids = [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in range(ranks)]
        handles = [pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
        for handle in handles:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return []
    return handles
