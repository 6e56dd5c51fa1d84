"""How many operations a model's training takes, and how many the device does at most."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

SIDE = {"cpu": 512, "cuda": 8192}
"""Of the matrices whose product is the measure: large for the device, and soon done."""
MEASURE_SECONDS = 0.1


@dataclass(slots=True)
class Work:
    """Tokens that a rank has trained on, and the operations that its model takes for them.

    6 for each weight of a matrix and token (4 where it is frozen), and 12 a layer and hidden unit for each pair of a
    row's tokens, for attention; embeddings are looked up. What activation checkpointing computes again is not counted.
    Source: Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters", SC 2021.
    """

    per_token: float = 0.0
    per_pair: float = 0.0
    tokens: int = 0
    flops: float = 0.0

    @classmethod
    def of(cls, model: nn.Module) -> Work:
        """Return the work of a model that has done none; of one without attention, its matrices' alone."""
        weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
        config: Any = next((module.config for module in model.modules() if hasattr(module, "config")), None)
        return cls(
            per_token=float(sum(weight.numel() * (6 if weight.requires_grad else 4) for weight in weights)),
            per_pair=12.0 * config.num_hidden_layers * config.hidden_size if config is not None else 0.0,
        )

    def add(self, lengths: npt.NDArray[np.int64]) -> None:
        """Count rows of these lengths, in tokens."""
        self.tokens += int(lengths.sum())
        self.flops += self.per_token * float(lengths.sum()) + self.per_pair * float((lengths**2).sum())


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations a second of a matrix product, by this process's threads or its device: the best of many."""
    side = SIDE[device.type]
    left, right = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))
    best, deadline = float("inf"), time.perf_counter() + MEASURE_SECONDS
    # The first one loads a kernel, so there are two at least.
    for number in range(1000):
        started = time.perf_counter()
        # Reading a number waits for the device.
        (left @ right)[0, 0].item()
        best = min(best, time.perf_counter() - started)
        if number and time.perf_counter() > deadline:
            break
    return 2 * side**3 / best
