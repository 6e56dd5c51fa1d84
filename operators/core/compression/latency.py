"""What an answer takes: models asked in turn, so that what disturbs the machine meets all alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from operators.core.models.classifier import Classifier

BATCH = 16
"""Texts of the larger batch."""


def measure_latency(
    models: Mapping[str, Classifier], requests: Sequence[Sequence[str]], warm_up: int
) -> dict[str, dict[str, float]]:
    """Return of each model the median and the 99th percentile of a request in seconds, and a request's processor time.

    Args:
        models: On one thread each.
        requests: Texts that are asked about together.
        warm_up: Requests, of the first, that are answered before the clock counts.
    """
    for request in requests[:warm_up]:
        for model in models.values():
            model.logits(request)
    walls: dict[str, list[float]] = {name: [] for name in models}
    cores = dict.fromkeys(models, 0.0)
    names = list(models)
    for index, request in enumerate(requests):
        # Each is the first in its turn: the first may find the caches filled by another.
        first = index % len(names)
        for name in names[first:] + names[:first]:
            wall, core = time.perf_counter(), time.process_time()
            models[name].logits(request)
            cores[name] += time.process_time() - core
            walls[name].append(time.perf_counter() - wall)
    return {
        name: {
            "p50": float(np.percentile(walls[name], 50)),
            "p99": float(np.percentile(walls[name], 99)),
            "core": cores[name] / len(requests),
        }
        for name in names
    }


def figures(alone: Mapping[str, float], batched: Mapping[str, float]) -> dict[str, Any]:
    """Return what a report says of a model's latencies, given those of single texts and of batches."""
    from operators.core.training.energy import estimated_joules

    return {
        "p50_ms": round(1000 * alone["p50"], 3),
        "p99_ms": round(1000 * alone["p99"], 3),
        "batch_p50_ms": round(1000 * batched["p50"], 3),
        "batch_p99_ms": round(1000 * batched["p99"], 3),
        "joules_per_1000": round(1000 * estimated_joules(alone["core"]), 2),
        "energy": "estimated",
    }
