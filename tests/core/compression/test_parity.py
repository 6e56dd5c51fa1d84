"""A graph that computes something else is found, and the first operator that does is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from operators.core.compression.export import export_onnx
from operators.core.compression.export_model import check
from operators.core.compression.make_candidates import parity_facts
from operators.core.compression.parity import Operator, Parity, compare
from operators.core.compression.quantise import quantise
from operators.core.errors import GateFailed
from operators.core.models.encoder import load_trained
from tests.core.compression.conftest import Trained

pytestmark = pytest.mark.integration

ROWS = [[2, 9, 33, 4, 60], [7, 8, 9, 10, 11, 12, 13, 14], [5]]
Break = Callable[[onnx.GraphProto], None]


@pytest.fixture(scope="module")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, object, Path]:
    """The tiny model, what was traced of it, and its graph."""
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    model = load_trained(trained.folder, "text_classification", 2)
    return model, export_onnx(model, path, opset=18), path


def node_of(graph: onnx.GraphProto, part: str) -> onnx.NodeProto:
    return next(node for node in graph.node if part in node.name)


def scaled(value: str) -> Break:
    """Return what makes the weights of the map that ends in a value half as large again."""

    def damage(graph: onnx.GraphProto) -> None:
        names = set(node_of(graph, value).input)
        weight = next(one for one in graph.initializer if one.name in names)
        weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 1.5, weight.name))

    return damage


def turned(graph: onnx.GraphProto) -> None:
    """The softmax of the second layer is taken over the wrong axis."""
    node = node_of(graph, "layer.1.attention.self/softmax")
    del node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("axis", 1))


def swapped(graph: onnx.GraphProto) -> None:
    """The error function of the first layer's activation is a hyperbolic tangent."""
    next(node for node in graph.node if node.op_type == "Erf").op_type = "Tanh"


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (turned, "Softmax encoder.encoder.layer.1.attention.self/softmax_1"),
        (swapped, "Mul encoder.encoder.layer.0.intermediate.intermediate_act_fn/gelu"),
        (scaled("layer.1.output.dense/val"), "Add encoder.encoder.layer.1.output.dense/linear_11"),
        (scaled("head/"), "Gemm head/logits"),
        (scaled("word_embeddings/"), "Gather encoder.embeddings.word_embeddings/embedding"),
    ],
)
def test_an_export_is_refused_by_the_name_of_its_first_bad_operator(
    exported: tuple[torch.nn.Module, torch.export.ExportedProgram, Path], tmp_path: Path, damage: Break, named: str
) -> None:
    """Whatever is broken, and in whichever layer: of operations that torch knows as one, the last operator is named."""
    model, program, path = exported
    graph = onnx.load(path)
    damage(graph.graph)
    onnx.save(graph, tmp_path / "model.onnx")

    with pytest.raises(GateFailed) as refused:
        check(model, program, tmp_path, ROWS)
    assert f"from {named} on" in str(refused.value)


def test_a_whole_export_is_told_layer_by_layer(
    exported: tuple[torch.nn.Module, torch.export.ExportedProgram, Path],
) -> None:
    """All of its layers are within single precision of PyTorch's."""
    model, program, path = exported
    layers = check(model, program, path.parent, ROWS)["layers"]

    assert list(layers) == ["embeddings", "layer.0", "layer.1", "logits"]
    assert max(layers.values()) < 1e-5


def test_a_quantised_graph_is_held_against_its_parent(
    exported: tuple[torch.nn.Module, torch.export.ExportedProgram, Path], tmp_path: Path
) -> None:
    """A whole one has an error by layer and nothing bad; one with a damaged scale is known by its operator."""
    path = exported[2]
    quantise(path, tmp_path / "int8.onnx")
    whole = parity_facts(path, tmp_path / "int8.onnx", ROWS, 0.4)
    graph = onnx.load(tmp_path / "int8.onnx")
    linear = next(
        node for node in graph.graph.node
        if node.op_type == "MatMulInteger" and "layer.1.intermediate.dense/" in node.name
    )  # fmt: skip
    weight = linear.input[1].removesuffix("_quantized")
    scale = next(one for one in graph.graph.initializer if one.name == f"{weight}_scale")
    scale.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scale) * np.float32(-3), scale.name))
    onnx.save(graph, tmp_path / "damaged.onnx")

    assert whole["first_bad_operator"] is None
    assert 0 < whole["layers"]["layer.0"] < 0.2
    damaged = parity_facts(path, tmp_path / "damaged.onnx", ROWS, 0.4)["first_bad_operator"]
    assert damaged == "MatMul encoder.encoder.layer.1.intermediate.dense/val_177"


def test_a_close_call_is_no_error() -> None:
    """Logits next to nothing are held against the size that logits usually have; what is wrong there is still found."""
    right = {3: np.array([[4.0, -4.0]]), 5: np.array([[0.01, -0.01]])}

    def held_against(difference: float) -> Parity:
        return compare(
            [Operator("logits", "Gemm head/logits", "head")],
            lambda names, ids: {"logits": right[ids.shape[1]]},
            lambda names, ids: {"logits": right[ids.shape[1]] + (difference if ids.shape[1] == 5 else 0.0)},
            [[1] * 3, [1] * 5],
            tolerance=0.4,
        )

    assert held_against(0.05).first_bad is None
    assert held_against(3.0).first_bad == "Gemm head/logits"
