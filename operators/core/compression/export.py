"""From a PyTorch classifier to an ONNX graph whose bytes depend on the model alone."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
import torch

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"
_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter notes which modules a node came from, outermost first, and the traced operation last."""


def export_onnx(model: torch.nn.Module, path: Path, *, opset: int) -> torch.export.ExportedProgram:
    """Write `model` as ONNX in single precision, with free batch and sequence axes; return what was traced of it.

    Nodes are named `MODULE/VALUE` by the module that they came from, and values as the operations in the trace are.

    Args:
        model: Takes token ids and attention mask, each int64 of shape (batch, sequence); gives logits.
        path: Where the graph goes, weights inside.
        opset: Version of the ONNX operator set.
    """
    ids = torch.ones((2, 8), dtype=torch.int64)
    axes = {0: "batch", 1: "sequence"}
    with warnings.catch_warnings(), torch.no_grad():
        # torch's exporter warns about its own use of pytree and about axis names that it merges.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model.eval().float(),
            (ids, torch.ones_like(ids)),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=(axes, axes),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    assert program.exported_program is not None
    graph = program.model_proto  # made anew whenever it is asked for
    _name_nodes(graph.graph)
    save_stripped(graph, path)
    return program.exported_program


def save_stripped(model: onnx.ModelProto, path: Path) -> None:
    """Write an ONNX graph without what differs from machine to machine: source paths, stack traces, tool versions."""
    model.producer_name, model.producer_version, model.doc_string = "nightshift", "", ""
    for part in _parts(model):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.checker.check_model(model)
    # Deterministic: protobuf may otherwise order map fields as it likes.
    path.write_bytes(model.SerializeToString(deterministic=True))


def _name_nodes(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        noted = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "[]")
        *modules, _ = ast.literal_eval(noted) or [""]
        node.name = f"{modules[-1] if modules else ''}/{node.output[0]}"


def _parts(model: onnx.ModelProto) -> Iterable[Any]:
    """Every message of a model that can carry metadata, sub-graphs included."""
    yield model
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        yield graph
        yield from (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer)
        graphs += [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    for function in model.functions:
        yield function
        yield from (*function.node, *function.value_info)
