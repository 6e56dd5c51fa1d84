"""Whether a graph computes what its parent does, layer by layer; where it does not, the first operator that differs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch

from operators.core.compression.export import INPUTS, OUTPUT

Values = dict[str, npt.NDArray[Any]]
Trace = Callable[[Sequence[str], npt.NDArray[np.int64]], Values]
"""Values by name, of one text's token numbers, shape (1, tokens); a name that it does not know is left out."""
_LAYER = re.compile(r"encoder\.encoder\.layer\.\d+|encoder\.embeddings")
SCANNED = 4
"""About as many texts every operator is looked at with, spread over all."""
OPERATOR_FACTOR = 10.0
"""An operator alone may be as many times further away than what a layer gives."""
LOST = 1.0
"""But not by its own size: then nothing of it is left."""
UNBOUNDED = 1e9
"""What stands for minus infinity in masks is larger, and no part of a difference."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A node of the reference graph."""

    value: str
    """Name of its output."""
    words: str
    """What people are told: its kind, module and output."""
    layer: str
    """The layer it came from; empty for what lies between."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """How far a graph is from its parent."""

    layers: dict[str, float]
    """Largest relative error of what each layer gives, over the texts: 0.01 is a hundredth of the values' size."""
    first_bad: str | None
    """The first operator whose error is above the tolerance, in the first layer that is; else the first that is lost
    though its layer is not; None where there is none."""


def compare(
    operators: Sequence[Operator],
    parent: Trace,
    graph: Trace,
    rows: Sequence[Sequence[int]],
    tolerance: float,
    parent_operators: Trace | None = None,
) -> Parity:
    """Return the errors of the layers, and of the first layer above the tolerance the first operator above it.

    Args:
        operators: Of the graph's reference, in their order.
        parent: What is right.
        graph: What is held against it.
        rows: Token numbers of texts; each is taken by itself, for padding would hide in means.
        tolerance: Largest relative error.
        parent_operators: Knows what is right of every operator, where `parent` knows layers only.
    """
    ends = _ends(operators)
    errors = _errors([operators[at].value for at in ends.values()], parent, graph, rows)
    layers = {_short(layer): errors[operators[at].value] for layer, at in ends.items() if operators[at].value in errors}
    # Each layer begins where the one before ends, and the first begins with the graph.
    for (_, begin), (layer, end) in pairwise([("", -1), *ends.items()]):
        if not layers.get(_short(layer), 0.0) <= tolerance:
            within = operators[begin + 1 : end + 1]
            found = _errors([one.value for one in within], parent_operators or parent, graph, rows)
            bad = (one for one in within if not found.get(one.value, 0.0) <= tolerance)
            return Parity(layers=layers, first_bad=next(bad, within[-1]).words)
    return Parity(layers=layers, first_bad=_first_lost(operators, parent_operators or parent, graph, rows, tolerance))


def _first_lost(
    operators: Sequence[Operator], parent: Trace, graph: Trace, rows: Sequence[Sequence[int]], tolerance: float
) -> str | None:
    """Return the first operator that is wrong by far, though its layer is not: what it is added to may hide it."""
    most = min(LOST, OPERATOR_FACTOR * tolerance)
    errors = _errors([one.value for one in operators], parent, graph, rows[:: max(1, len(rows) // SCANNED)])
    return next((one.words for one in operators if not errors.get(one.value, 0.0) <= most), None)


def _short(layer: str) -> str:
    return layer.removeprefix("encoder.").removeprefix("encoder.")


def operators_of(graph: onnx.GraphProto) -> list[Operator]:
    """Return the operators of an exported graph, in their order."""
    return [
        Operator(node.output[0], f"{node.op_type} {node.name}", found.group() if found else "")
        for node in graph.node
        for found in [_LAYER.match(node.name)]
    ]


def graph_trace(path: Path) -> Trace:
    """Return the trace of an ONNX graph; a session is opened for each set of names."""
    model = onnx.load(path)
    known = {name for node in model.graph.node for name in node.output}
    sessions: dict[tuple[str, ...], ort.InferenceSession] = {}

    def trace(names: Sequence[str], ids: npt.NDArray[np.int64]) -> Values:
        wanted = tuple(name for name in names if name in known)
        if wanted not in sessions:
            sessions[wanted] = _session(model, wanted)
        inputs = dict(zip(INPUTS, (ids, np.ones_like(ids)), strict=True))
        return dict(zip(wanted, sessions[wanted].run(list(wanted), inputs), strict=True))

    return trace


def module_trace(model: torch.nn.Module, operators: Sequence[Operator]) -> Trace:
    """Return the trace of a PyTorch model's layers, by what its own modules give."""
    layers = {operators[at].value: layer for layer, at in _ends(operators).items()}

    def trace(names: Sequence[str], ids: npt.NDArray[np.int64]) -> Values:
        values: Values = {}
        hooks = [
            model.get_submodule(layers[name]).register_forward_hook(_keep(values, name))
            for name in names
            if layers.get(name, OUTPUT) != OUTPUT
        ]
        try:
            with torch.inference_mode():
                values[OUTPUT] = model(*_tensors(ids)).numpy()
        finally:
            for hook in hooks:
                hook.remove()
        return values

    return trace


def program_trace(program: torch.export.ExportedProgram) -> Trace:
    """Return the trace of every operation that torch traced of a model, run by torch."""
    interpreter = _Interpreter(program.module())

    def trace(names: Sequence[str], ids: npt.NDArray[np.int64]) -> Values:
        interpreter.values = {}
        with torch.no_grad():
            interpreter.run(*_tensors(ids))
        return {name: interpreter.values[name] for name in names if name in interpreter.values}

    return trace


class _Interpreter(torch.fx.Interpreter):
    values: Values

    def run_node(self, n: torch.fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            # A copy: the next operation may work in its place.
            self.values[n.name] = value.numpy(force=True).copy()
        return value


def _ends(operators: Sequence[Operator]) -> dict[str, int]:
    """Return where each layer ends, in their order; what follows the last is the head, down to the logits."""
    ends = {one.layer: at for at, one in enumerate(operators) if one.layer}
    return {**dict(sorted(ends.items(), key=lambda item: item[1])), OUTPUT: len(operators) - 1}


def _errors(names: Sequence[str], parent: Trace, graph: Trace, rows: Sequence[Sequence[int]]) -> dict[str, float]:
    """Return the largest relative error of each value that both give, over the texts."""
    measured: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        ids = np.asarray([row], dtype=np.int64)
        right, found = parent(names, ids), graph(names, ids)
        for name in names:
            if name in right and name in found:
                measured.setdefault(name, []).append(_difference_and_size(right[name], found[name]))
    return {name: _worst(of_texts) for name, of_texts in measured.items()}


def _worst(of_texts: Sequence[tuple[float, float]]) -> float:
    """Return the largest difference in parts of the text's size, or of the mean size where the text's is below it.

    The logits of a close call are next to nothing, and any difference is many times as large.
    """
    usual = sum(size for _, size in of_texts) / len(of_texts)
    return max(difference / max(size, usual) if size or usual else difference for difference, size in of_texts)


def _difference_and_size(right: npt.NDArray[Any], found: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the root mean squares of the difference and of what is right; infinite for another shape."""
    if right.shape != found.shape:
        return float("inf"), 0.0
    one, other = right.astype(np.float64), found.astype(np.float64)
    bounded = np.abs(one) < UNBOUNDED
    scale = max(1, int(bounded.sum())) ** -0.5
    difference = float(np.linalg.norm((other - one)[bounded])) * scale
    return difference if np.isfinite(difference) else float("inf"), float(np.linalg.norm(one[bounded])) * scale


def _session(model: onnx.ModelProto, names: Sequence[str]) -> ort.InferenceSession:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    changed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(changed.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _keep(values: Values, name: str) -> Callable[..., None]:
    def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        values[name] = (output[0] if isinstance(output, tuple) else output).numpy(force=True).copy()

    return hook


def _tensors(ids: npt.NDArray[np.int64]) -> Iterator[torch.Tensor]:
    tensor = torch.from_numpy(ids)
    yield from (tensor, torch.ones_like(tensor))
