"""What the device can do at most: the matrix product that training's share of it is held against."""

from __future__ import annotations

import torch

SIDE = 8192


def peak_flops(dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Return floating-point operations a second of a large matrix product on random data, the median of its runs."""
    left, right = (torch.randn(SIDE, SIDE, device="cuda").to(dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    milliseconds: list[float] = []
    while sum(milliseconds) < seconds * 1000:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()  # type: ignore[no-untyped-call]
        left @ right
        end.record()  # type: ignore[no-untyped-call]
        end.synchronize()  # type: ignore[no-untyped-call]
        milliseconds.append(start.elapsed_time(end))  # type: ignore[no-untyped-call]
    return 2 * SIDE**3 / (sorted(milliseconds)[len(milliseconds) // 2] / 1000)
