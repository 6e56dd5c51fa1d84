"""Graph optimisation: operators put together, each kind counted.

ONNX Runtime's optimiser finds biases with their activations; attention, which it does not find in graphs of torch's
exporter (onnxruntime 1.31, torch 2.13), is put together here.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import onnx
from onnxruntime.transformers.optimizer import optimize_model

from operators.core.compression.export import save_stripped

DOMAIN = "com.microsoft"


def fuse(source: Path, target: Path) -> dict[str, int]:
    """Write a graph with what belongs together put together; return how often, by the name of the new operator."""
    model = onnx.load(source)
    _fuse_attention(model)
    optimised = fuse_activations(model)
    save_stripped(optimised, target)
    return dict(sorted(Counter(node.op_type for node in optimised.graph.node if node.domain == DOMAIN).items()))


def fuse_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph with activations and their biases put together, as ONNX Runtime's optimiser finds them."""
    disabled = logging.root.manager.disable
    # It advises on producers that it does not know and on shapes that it could not infer, by many loggers and by print.
    logging.disable(logging.ERROR)
    try:
        with redirect_stdout(StringIO()):
            optimised: onnx.ModelProto = optimize_model(model, model_type="bert", opt_level=0).model
    finally:
        logging.disable(disabled)
    _know_domain(optimised)
    return optimised


@dataclass(frozen=True, slots=True)
class _Links:
    """Who makes and who reads the values of a graph, by name."""

    makers: dict[str, onnx.NodeProto]
    readers: dict[str, list[onnx.NodeProto]]
    constants: dict[str, onnx.TensorProto]

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> _Links:
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        makers = {name: node for node in graph.node for name in node.output}
        return cls(makers, readers, {one.name: one for one in graph.initializer})

    def back(self, value: str, *kinds: str) -> list[onnx.NodeProto]:
        """Return the nodes that made a value, the last first, each of its kind and from the first input of the next.

        Raises:
            KeyError: They are not of these kinds.
        """
        nodes = []
        for kind in kinds:
            node = self.makers[value]
            if node.op_type != kind:
                raise KeyError(kind)
            nodes.append(node)
            value = node.input[0]
        return nodes

    def forth(self, value: str, *kinds: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a value, one after the other, each alone and of its kind.

        Raises:
            KeyError: They are not.
        """
        nodes = []
        for kind in kinds:
            (*_, node) = readers = self.readers[value]
            if len(readers) > 1 or node.op_type != kind:
                raise KeyError(kind)
            nodes.append(node)
            value = node.output[0]
        return nodes


def _fuse_attention(model: onnx.ModelProto) -> None:
    graph, links = model.graph, _Links.of(model.graph)
    for softmax in [node for node in graph.node if node.op_type == "Softmax"]:
        try:
            end, fused = _attention(softmax, links)
        except KeyError:
            # Of another shape than what is known: it stays as it is, and is not counted.
            continue
        end.CopyFrom(fused)
    _drop_unread(graph)
    del graph.value_info[:]
    _know_domain(model)


def _know_domain(model: onnx.ModelProto) -> None:
    if DOMAIN not in {one.domain for one in model.opset_import}:
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))


def _attention(softmax: onnx.NodeProto, links: _Links) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    """Return the last node of an attention, and what does the work of all of its nodes.

    Raises:
        KeyError: The nodes around the softmax are not those of an attention with a mask that is added.
    """
    masked, scaled, products = links.back(softmax.input[0], "Add", "Mul", "MatMul")
    weighed, _, end = links.forth(softmax.output[0], "MatMul", "Transpose", "Reshape")
    # Each is cut into heads: its rows reshaped, then turned.
    parts = [links.back(value, "Transpose", "Reshape")[-1].input[0] for value in (*products.input, weighed.input[1])]
    scale = float(onnx.numpy_helper.to_array(links.constants[scaled.input[1]]))
    width = _width(links.makers[parts[0]], links)
    fused = onnx.helper.make_node(
        "MultiHeadAttention",
        [*parts, "", "", masked.input[1]],
        [end.output[0]],
        name=end.name,
        domain=DOMAIN,
        # A head's width is what its products are scaled by: one over the root of it.
        num_heads=round(width * scale**2),
        scale=scale,
    )
    return end, fused


def _width(linear: onnx.NodeProto, links: _Links) -> int:
    """Return the width of what a linear map gives, which its bias has too."""
    bias = next(name for name in linear.input if name in links.constants)
    return int(links.constants[bias].dims[-1])


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Drop nodes and weights that nothing reads any more."""
    read = {one.name for one in graph.output}
    kept = []
    for node in reversed(graph.node):
        if read & set(node.output):
            kept.append(node)
            read.update(node.input)
    weights = [one for one in graph.initializer if one.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)
