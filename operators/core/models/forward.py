"""A model's weights as a function of token numbers, run on the CPU by torch or by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

from operators.core.errors import DataError
from operators.core.models.batching import Floats, Forward, Ints
from operators.core.models.card import ClassifierCard


def load_forward(folder: Path, card: ClassifierCard) -> Forward:
    """Return the logits' function of a folder's `model.safetensors` with `config.json`, or of its `model.onnx`.

    Raises:
        DataError: A file is missing or does not fit the others.
    """
    return (_torch_forward if card.format == "safetensors" else _onnx_forward)(folder, card)


def _torch_forward(folder: Path, card: ClassifierCard) -> Forward:
    import torch

    from operators.core.models.encoder import load_trained

    torch.set_num_threads(1)
    model = load_trained(folder, card.task, card.outputs)

    def forward(ids: Ints, mask: Ints) -> Floats:
        with torch.inference_mode():
            logits: Floats = model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        return logits

    return forward


def _onnx_forward(folder: Path, card: ClassifierCard) -> Forward:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors share no class of their own
        raise DataError(f"model.onnx cannot be loaded: {error}") from error
    width = session.get_outputs()[0].shape[-1]
    if isinstance(width, int) and width != card.outputs:
        raise DataError(f"model.onnx gives {width} logits, by classifier.json there are {card.outputs}")

    def forward(ids: Ints, mask: Ints) -> Floats:
        logits: Floats = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return logits

    return forward
