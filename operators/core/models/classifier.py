"""A classifier loaded from a folder, whichever format its weights have.

The folder holds `classifier.json`, `tokenizer.json` and the weights: `model.safetensors` with `config.json` (run by
torch), or `model.onnx` (run by ONNX Runtime, without torch).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from operators.core.errors import DataError
from operators.core.models.batching import Floats, Forward, Ints, run_batches
from operators.core.models.tokenising import encode, load_tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierCard:
    """What one must know to run a classifier's weights: the content of `classifier.json`."""

    format: Literal["safetensors", "onnx"]
    labels: tuple[str, ...]
    """In the order of the logits."""
    max_length: int
    """Tokens kept of a text, special ones included."""
    pooling: str = "mean"
    pad_id: int = 0

    def to_json(self) -> str:
        """Return the card as stored, the same for equal cards."""
        return json.dumps(asdict(self), sort_keys=True, indent=1) + "\n"

    @classmethod
    def from_folder(cls, folder: Path) -> ClassifierCard:
        """Read the card of a model folder.

        Raises:
            DataError: It is missing or not such a card.
        """
        try:
            document = json.loads((folder / "classifier.json").read_text())
            card = cls(**{**document, "labels": tuple(document["labels"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"classifier.json of the model is missing or unreadable: {error}") from error
        if card.format not in ("safetensors", "onnx") or card.pooling != "mean" or len(card.labels) < 2:
            raise DataError(f"classifier.json asks for what this release cannot run: {card}")
        return card


class Classifier:
    """A loaded model: texts in, logits out."""

    def __init__(self, folder: Path, card: ClassifierCard, forward: Forward, threads: int, batch_size: int) -> None:
        self.card = card
        self.labels = list(card.labels)
        self.batch_size = batch_size
        self.threads = threads
        self._tokenizer = load_tokenizer(folder)
        self._forward = forward

    def logits(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> Floats:
        """Return logits in the order of the texts, shape (texts, labels).

        Args:
            texts: Any number of them; rows of like length share a batch, so the batch of a text follows from all texts.
            progress: Called with the number of texts done after each batch.
        """
        result = np.zeros((len(texts), len(self.labels)), dtype=np.float32)
        rows = encode(self._tokenizer, texts, self.card.max_length)
        done = 0
        for batch, logits in run_batches(
            self._forward, rows, batch_size=self.batch_size, pad_id=self.card.pad_id, threads=self.threads
        ):
            result[batch] = logits
            done += len(batch)
            if progress:
                progress(done)
        return result


def load_classifier(folder: Path, threads: int, batch_size: int = 32) -> Classifier:
    """Return the folder's classifier, ready to run on the CPU.

    Args:
        folder: Holds the files of a fine-tuned or a compressed model.
        threads: Batches computed beside each other, on a thread each.
        batch_size: Rows of one forward pass.

    Raises:
        DataError: A file is missing or does not fit the others.
    """
    card = ClassifierCard.from_folder(folder)
    make = _torch_forward if card.format == "safetensors" else _onnx_forward
    return Classifier(folder, card, make(folder, card), threads, batch_size)


def _torch_forward(folder: Path, card: ClassifierCard) -> Forward:
    import torch

    from operators.core.models.encoder import load_trained

    torch.set_num_threads(1)
    model = load_trained(folder, len(card.labels))

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
    if isinstance(width, int) and width != len(card.labels):
        raise DataError(f"model.onnx gives {width} logits, classifier.json names {len(card.labels)} labels")

    def forward(ids: Ints, mask: Ints) -> Floats:
        logits: Floats = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return logits

    return forward
