"""Weights stored in 16 bits and computed with in single precision: a cast in front of each, done once at loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from operators.core.compression.export import save_stripped
from operators.core.compression.spec import CandidateKind

LEAST_NUMBERS = 64
"""Numbers of a tensor below which nothing is gained."""
_TYPES = {CandidateKind.FP16: onnx.TensorProto.FLOAT16, CandidateKind.BF16: onnx.TensorProto.BFLOAT16}
_EXPONENTS = {CandidateKind.FP16: 0x7C00, CandidateKind.BF16: 0x7F80}
"""Bits that are all set in what is infinite or no number."""
MOST = {CandidateKind.FP16: 65504.0, CandidateKind.BF16: float(np.uint32(0x7F7F0000).view(np.float32))}
"""The largest number of each form."""


def truncate(source: Path, target: Path, kind: CandidateKind) -> dict[str, Any]:
    """Write a graph with its weights in 16 bits; return the largest weight, how many became zero, and what overflows.

    A weight beyond what the form holds becomes the largest number that it does, so that the candidate can be measured
    and lose by its reason: `overflow` names the first tensor with one, and is None where all fit. What is computed with
    them is in single precision: it overflows no sooner than it did before.
    """
    model = onnx.load(source)
    largest, vanished, overflows, casts = 0.0, 0, list[str](), []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < LEAST_NUMBERS:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        short, beyond = to_bits(values, kind)
        widest = float(np.abs(values).max())
        if beyond:
            most = f"{kind.value} holds at most {MOST[kind]:g}"
            overflows.append(f"overflow: {tensor.name} has {beyond} weights as large as {widest:g}, {most}")
        largest = max(largest, widest)
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
    return {"largest_weight": largest, "vanished_weights": vanished, "overflow": next(iter(overflows), None)}


def to_bits(values: npt.NDArray[np.float32], kind: CandidateKind) -> tuple[npt.NDArray[np.uint16], int]:
    """Return numbers in 16 bits, as bits, to the nearest, ties to even; and how many of them were too large."""
    bits = _half_bits if kind is CandidateKind.FP16 else _bfloat_bits
    short = bits(values)
    beyond = (short & _EXPONENTS[kind]) == _EXPONENTS[kind]
    if beyond.any():
        most = np.float32(MOST[kind])
        short = np.where(beyond, bits(np.where(np.signbit(values), -most, most)), short)
    return short, int(beyond.sum())


def _half_bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).view(np.uint16)


def _bfloat_bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Return the upper halves of single precision, rounded."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)
    # No number stays none: rounding could carry its last bits into the sign.
    upper = np.where(np.isnan(values), (bits >> 16) | 0x40, rounded >> 16)
    return upper.astype(np.uint16)
