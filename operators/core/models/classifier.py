"""A classifier loaded from a folder, whichever task it was trained for and whichever format its weights have.

The folder holds `classifier.json`, `tokenizer.json` and the weights: `model.safetensors` with `config.json` (run by
torch), or `model.onnx` (run by ONNX Runtime, without torch).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.core.labels import Task, encode_spans
from operators.core.models.batching import Floats, Forward, run_batches
from operators.core.models.card import ClassifierCard
from operators.core.models.forward import load_forward
from operators.core.models.tags import read_spans
from operators.core.models.tokenising import encode, encode_words, load_tokenizer

Done = Callable[[int], None]
"""Called with the number of texts done after each batch."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of one text."""

    label: str
    """As a data set would hold it."""
    score: float
    """Probability of the label; of spans that of the word's tag that is least sure."""
    probabilities: tuple[float, ...] = ()
    """Of a text's label, in the order of the names; spans have none."""


class Classifier(ABC):
    """A loaded model: texts in, logits or answers out.

    Texts may be any number; those of like length share a batch, so the batch of a text follows from all texts.
    """

    def __init__(self, folder: Path, card: ClassifierCard, forward: Forward, threads: int, batch_size: int) -> None:
        self.card = card
        self.labels = list(card.labels)
        self.batch_size = batch_size
        self.threads = threads
        self._tokenizer = load_tokenizer(folder)
        self._forward = forward

    @abstractmethod
    def logits(self, texts: Sequence[str], progress: Done | None = None) -> Floats:
        """Return logits in the order of the texts."""

    @abstractmethod
    def answers(self, texts: Sequence[str], progress: Done | None = None) -> list[Answer]:
        """Return an answer a text.

        Raises:
            FloatingPointError: A logit is not a finite number.
        """

    def _run(self, rows: Sequence[Sequence[int]], progress: Done | None) -> Iterator[tuple[int, Floats]]:
        """Yield each row's number and what the weights make of it, padding included, batch by batch."""
        done = 0
        for batch, outputs in run_batches(
            self._forward, rows, batch_size=self.batch_size, pad_id=self.card.pad_id, threads=self.threads
        ):
            yield from zip(batch.tolist(), outputs, strict=True)
            done += len(batch)
            if progress:
                progress(done)


class TextClassifier(Classifier):
    """Tells the label of a text."""

    def logits(self, texts: Sequence[str], progress: Done | None = None) -> Floats:
        """Return logits, shape (texts, labels)."""
        result = np.zeros((len(texts), len(self.labels)), dtype=np.float32)
        for row, output in self._run(encode(self._tokenizer, texts, self.card.max_length), progress):
            result[row] = output
        return result

    def answers(self, texts: Sequence[str], progress: Done | None = None) -> list[Answer]:
        """Return the likeliest label of each text."""
        probabilities = softmax(self.logits(texts, progress))
        best = probabilities.argmax(axis=1)
        return [
            Answer(self.labels[n], float(row[n]), tuple(row.tolist()))
            for row, n in zip(probabilities, best, strict=True)
        ]


class TokenTagger(Classifier):
    """Tells the labelled spans of a text."""

    def logits(self, texts: Sequence[str], progress: Done | None = None) -> Floats:
        """Return logits of each word's tag, text after text, shape (words, tags)."""
        words = encode_words(self._tokenizer, texts, self.card.max_length)
        results: list[Floats] = [np.empty((0, self.card.outputs), np.float32)] * len(texts)
        for row, output in self._run([one.ids for one in words], progress):
            results[row] = output[words[row].firsts]
        return np.concatenate(results)

    def answers(self, texts: Sequence[str], progress: Done | None = None) -> list[Answer]:
        """Return the spans of each text; nothing is told of what lies beyond `max_length` tokens."""
        words = encode_words(self._tokenizer, texts, self.card.max_length)
        results = [Answer(encode_spans(()), 1.0)] * len(texts)
        for row, output in self._run([one.ids for one in words], progress):
            probabilities = softmax(output[words[row].firsts])
            spans = read_spans(words[row], probabilities.argmax(axis=1).tolist(), self.labels)
            results[row] = Answer(encode_spans(spans), float(probabilities.max(axis=1).min(initial=1.0)))
        return results


CLASSIFIERS: dict[Task, type[Classifier]] = {
    "text_classification": TextClassifier,
    "token_classification": TokenTagger,
}


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
    return CLASSIFIERS[card.task](folder, card, load_forward(folder, card), threads, batch_size)


def softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """Return probabilities along the last axis.

    Raises:
        FloatingPointError: A logit is not a finite number.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("the model gave a logit that is not a finite number")
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities
