"""Weights stored in 16 bits and computed with in single precision: a cast in front of each, done once at loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from operators.core.compression.export import save_stripped
from operators.core.compression.spec import CandidateKind
from operators.core.errors import GateFailed

LEAST_NUMBERS = 64
"""Numbers of a tensor below which nothing is gained."""
_TYPES = {CandidateKind.FP16: onnx.TensorProto.FLOAT16, CandidateKind.BF16: onnx.TensorProto.BFLOAT16}


def truncate(source: Path, target: Path, kind: CandidateKind) -> dict[str, Any]:
    """Write a graph with its weights in 16 bits; return the largest weight, and how many became zero.

    Raises:
        GateFailed: A weight is beyond what half precision holds.
    """
    model = onnx.load(source)
    largest, vanished, casts = 0.0, 0, []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < LEAST_NUMBERS:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        short = _TO_BITS[kind](values, tensor.name)
        largest = max(largest, float(np.abs(values).max()))
        vanished += int(np.count_nonzero(values) - np.count_nonzero(short & 0x7FFF))
        name = f"{tensor.name}_16"
        casts.append(
            onnx.helper.make_node("Cast", [name], [tensor.name], name=f"/{tensor.name}", to=onnx.TensorProto.FLOAT)
        )
        tensor.CopyFrom(onnx.helper.make_tensor(name, _TYPES[kind], values.shape, short.tobytes(), raw=True))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    save_stripped(model, target)
    return {"largest_weight": largest, "vanished_weights": vanished}


def half_bits(values: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.uint16]:
    """Return numbers in half precision, as bits.

    Raises:
        GateFailed: One overflows.
    """
    with np.errstate(over="ignore"):
        short = values.astype(np.float16)
    if not np.isfinite(short).all():
        raise GateFailed(
            f"{name} has a weight of {float(np.abs(values).max()):g}, fp16 holds at most {np.finfo(np.float16).max:g}: "
            "take bf16, which holds any"
        )
    return short.view(np.uint16)


def bfloat_bits(values: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.uint16]:
    """Return numbers as bfloat16, as bits: the upper half of single precision, rounded to the nearest, ties to even.

    Raises:
        GateFailed: One is no number, or rounds to none.
    """
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)
    short = (rounded >> 16).astype(np.uint16)
    if not (np.isfinite(values).all() and ((short & 0x7F80) != 0x7F80).all()):
        raise GateFailed(f"{name} has a weight that bfloat16 does not hold: train again with lower rates")
    return short


_TO_BITS = {CandidateKind.FP16: half_bits, CandidateKind.BF16: bfloat_bits}
