"""Graphs with fewer bits a weight: int8 with activations quantised as they come or by fixed scales, and int4."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

from operators.core.compression.export import INPUTS, save_stripped
from operators.core.compression.fuse import fuse_activations

BLOCKS_OPSET = 21
"""The first version of the operator set that has types of 4 bits."""
_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


def quantise(source: Path, target: Path) -> None:
    """Write the int8 form of an ONNX graph, equal bytes for equal graphs; activations are quantised at run time.

    Each GELU becomes one operator before: of a text of Banking77 that takes 14 % of MiniLM's time. Attention is left as
    it is: put together, it takes longer than its parts do with int8 around it.

    Source:
        onnxruntime.quantization; per channel keeps more of a MiniLM's answers than per tensor (.9925 against .9870).
    """
    with _quietly():
        quantize_dynamic(
            fuse_activations(_without_shapes(source)),
            target,
            per_channel=True,
            weight_type=QuantType.QInt8,
            # Shapes are not inferred through the runtime's own operators; all that is quantised is in single precision.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    save_stripped(onnx.load(target), target)


def quantise_static(source: Path, target: Path, rows: Sequence[Sequence[int]], method: str) -> None:
    """Write the int8 form whose activations have the scales that some rows call for.

    Products of activations with each other stay as they are. Activations are unsigned: with signed ones the same graph
    took nine times as long on a CPU (14.0 against 1.5 ms, MiniLM, 16 tokens).

    Args:
        source: The graph in single precision.
        target: Where to.
        rows: Token numbers of texts that stand for what will come.
        method: How ranges are taken from what is seen: `minmax`, `entropy` or `percentile`.
    """
    with _quietly():
        quantize_static(
            _without_shapes(source),
            target,
            _Rows(rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=_METHODS[method],
        )
    save_stripped(onnx.load(target), target)


def quantise_blocks(source: Path, target: Path, block_size: int) -> None:
    """Write the form with 4 bits for each weight of matrices and embeddings, in blocks with a scale and a zero each."""
    config = DefaultWeightOnlyQuantConfig(
        block_size=block_size,
        is_symmetric=False,
        # Products in int8: with single precision they took 1.7 times as long.
        accuracy_level=4,
        bits=4,
        op_types_to_quantize=("MatMul", "Gather"),
        quant_axes=(("MatMul", 0), ("Gather", 1)),
    )
    model = onnx.version_converter.convert_version(_without_shapes(source), BLOCKS_OPSET)
    # A block of zeros has no scale; the quantiser divides first and looks afterwards.
    with _quietly(), np.errstate(divide="ignore", invalid="ignore"):
        quantiser = MatMulNBitsQuantizer(model, algo_config=config)
        quantiser.process()
    save_stripped(quantiser.model.model, target)


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self._rows = iter(rows)

    def get_next(self) -> dict[str, np.ndarray] | None:
        row = next(self._rows, None)
        if row is None:
            return None
        ids = np.asarray([row], dtype=np.int64)
        return dict(zip(INPUTS, (ids, np.ones_like(ids)), strict=True))


def _without_shapes(source: Path) -> onnx.ModelProto:
    """Return a graph without the shapes that torch's exporter notes beside it.

    The quantisers rename tensors and die on them ("Inferred shape and existing shape differ").
    """
    model = onnx.load(source)
    del model.graph.value_info[:]
    return model


@contextmanager
def _quietly() -> Iterator[None]:
    """Drop the quantisers' advice: on these graphs it changes nothing, and some comes through the root logger."""
    loggers = [logging.getLogger(), logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer")]
    for log in loggers:
        log.addFilter(_is_no_advice)
    try:
        yield
    finally:
        for log in loggers:
            log.removeFilter(_is_no_advice)


def _is_no_advice(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING or "onnxruntime" not in record.pathname
