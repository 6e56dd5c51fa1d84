"""Weights in 16 bits: rounded as others round them, and told of where they do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from operators.core.compression.spec import CandidateKind
from operators.core.compression.truncate import to_bits, truncate

BFLOAT_MOST = (2 - 2**-7) * 2.0**127


def numbers() -> np.ndarray:
    """Return single-precision numbers of every size that half precision holds, ties between two among them."""
    draw = np.random.default_rng(0)
    ties = np.arange(0x3F800000, 0x3F900000, 0x8000, dtype=np.uint32).view(np.float32)
    spread = draw.normal(size=4000) * 10.0 ** draw.integers(-9, 4, 4000)
    return np.concatenate([spread.astype(np.float32), ties, np.float32([0.0, -0.0, 65504.0])])


def linear(path: Path, weights: np.ndarray) -> Path:
    """Write a graph that multiplies eight numbers with a matrix."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="/y")],
        "graph",
        [value("x", onnx.TensorProto.FLOAT, [1, 8])],
        [value("y", onnx.TensorProto.FLOAT, [1, 8])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opsets = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def run(path: Path, numbers: list[float]) -> np.ndarray:
    """Return what a graph makes of eight numbers."""
    return ort.InferenceSession(path).run(None, {"x": np.float32([numbers])})[0][0]


def test_both_forms_round_as_torch_does() -> None:
    """To the nearest, ties to even, bit by bit."""
    values = numbers()

    for kind, dtype in ((CandidateKind.BF16, torch.bfloat16), (CandidateKind.FP16, torch.float16)):
        expected = torch.from_numpy(values).to(dtype).view(torch.int16).numpy().view(np.uint16)
        short, beyond = to_bits(values, kind)

        np.testing.assert_array_equal(short, expected)
        assert beyond == 0


@pytest.mark.parametrize(
    ("kind", "value", "most"),
    [
        (CandidateKind.FP16, 65520.0, 65504.0),
        (CandidateKind.FP16, -1e6, -65504.0),
        (CandidateKind.FP16, np.inf, 65504.0),
        (CandidateKind.FP16, np.nan, 65504.0),
        (CandidateKind.BF16, np.finfo(np.float32).max, BFLOAT_MOST),
        (CandidateKind.BF16, -np.inf, -BFLOAT_MOST),
        (CandidateKind.BF16, np.nan, BFLOAT_MOST),
    ],
)
def test_what_overflows_is_counted_and_becomes_the_largest(kind: CandidateKind, value: float, most: float) -> None:
    """What a form does not hold is told, and is the largest number that it does; the others stay."""
    short, beyond = to_bits(np.float32([1.0, value, -2.0]), kind)
    dtype = torch.float16 if kind is CandidateKind.FP16 else torch.bfloat16
    found = torch.from_numpy(short.view(np.int16)).view(dtype).tolist()

    assert (found, beyond) == ([1.0, most, -2.0], 1)


def test_a_graph_with_a_weight_too_large_says_so(tmp_path: Path) -> None:
    """The fact names the tensor and both numbers, and the graph gives numbers all the same."""
    weights = np.ones((8, 8), np.float32)
    weights[0, 0] = 1e5
    facts = truncate(linear(tmp_path / "source", weights), tmp_path / "target", CandidateKind.FP16)

    assert facts["overflow"] == "overflow: w has 1 weights as large as 100000, fp16 holds at most 65504"
    assert run(tmp_path / "target", [1.0] + [0.0] * 7)[0] == 65504.0


def test_what_is_computed_of_short_weights_does_not_overflow(tmp_path: Path) -> None:
    """Values a hundred times beyond half precision come out as they do of the graph in single precision."""
    source = linear(tmp_path / "source", np.full((8, 8), 60_000.0, np.float32))
    facts = truncate(source, tmp_path / "target", CandidateKind.FP16)

    assert facts["overflow"] is None
    np.testing.assert_array_equal(run(tmp_path / "target", [10.0] * 8), run(source, [10.0] * 8))


def test_small_weights_that_become_zero_are_counted(tmp_path: Path) -> None:
    """A graph tells how many of its weights half precision lost, and its largest."""
    weights = np.ones((8, 8), np.float32)
    weights[0, :3] = (1e-9, -1e-9, 300.0)
    facts = truncate(linear(tmp_path / "source", weights), tmp_path / "target", CandidateKind.FP16)

    assert facts == {"largest_weight": 300.0, "vanished_weights": 2, "overflow": None}
