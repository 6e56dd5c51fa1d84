"""Weights in 16 bits: rounded as others round them, and refused where they do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from operators.core.compression.spec import CandidateKind
from operators.core.compression.truncate import bfloat_bits, half_bits, truncate
from operators.core.errors import GateFailed


def numbers() -> np.ndarray:
    """Return single-precision numbers of every size that half precision holds, ties between two among them."""
    draw = np.random.default_rng(0)
    ties = np.arange(0x3F800000, 0x3F900000, 0x8000, dtype=np.uint32).view(np.float32)
    spread = draw.normal(size=4000) * 10.0 ** draw.integers(-9, 4, 4000)
    return np.concatenate([spread.astype(np.float32), ties, np.float32([0.0, -0.0, 65504.0])])


def test_both_forms_round_as_torch_does() -> None:
    """To the nearest, ties to even, bit by bit."""
    values = numbers()

    for bits, kind in ((bfloat_bits, torch.bfloat16), (half_bits, torch.float16)):
        expected = torch.from_numpy(values).to(kind).view(torch.int16).numpy().view(np.uint16)
        np.testing.assert_array_equal(bits(values, "w"), expected)


@pytest.mark.parametrize("value", [65520.0, -1e6, np.inf, np.nan])
def test_what_half_precision_does_not_hold_is_refused(value: float) -> None:
    """The message names the tensor."""
    with pytest.raises(GateFailed, match="the_weight"):
        half_bits(np.float32([1.0, value]), "the_weight")


def test_what_bfloat16_does_not_hold_is_refused() -> None:
    """It holds all that is finite, but for what rounds up to infinity."""
    bfloat_bits(np.float32([1e38]), "w")
    for value in (np.finfo(np.float32).max, np.inf, np.nan):
        with pytest.raises(GateFailed, match="bfloat16"):
            bfloat_bits(np.float32([value]), "w")


def test_small_weights_that_become_zero_are_counted(tmp_path: Path) -> None:
    """A graph tells how many of its weights half precision lost, and its largest."""
    weights = np.ones((8, 8), np.float32)
    weights[0, :3] = (1e-9, -1e-9, 300.0)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="/y")],
        "graph",
        [value("x", onnx.TensorProto.FLOAT, [1, 8])],
        [value("y", onnx.TensorProto.FLOAT, [1, 8])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opsets = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "source")

    facts = truncate(tmp_path / "source", tmp_path / "target", CandidateKind.FP16)
    assert facts == {"largest_weight": 300.0, "vanished_weights": 2}
