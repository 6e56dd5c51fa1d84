"""Open Inference Protocol v2, the part we speak, whichever way it comes: raw text in, label and score out.

A label is what a data set would hold: of a token classification the text's spans, as `core.labels` writes them.

Source:
    https://github.com/kserve/open-inference-protocol, with its binary tensor and model repository extensions.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from operators.core.labels import Task

if TYPE_CHECKING:
    from operators.core.models.card import ClassifierCard
    from operators.core.models.classifier import Answer

VERSION = "2.0"
EXTENSIONS = ("model_repository", "binary_tensor_data")
MAX_ID_CHARACTERS = 256
MAX_TIMEOUT = 86_400_000_000
"""Microseconds: whoever would wait longer than a day waits a day."""
OUTPUTS: dict[Task, tuple[str, ...]] = {
    "text_classification": ("label", "score", "probabilities"),
    "token_classification": ("label", "score"),
}
"""What can be asked for, by task."""


class BadRequest(ValueError):
    """The request is wrong; the message says how and what is expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InferRequest:
    """A request as it is used here."""

    id: str
    """The caller's, or one made for it: the split goes by it."""
    texts: tuple[str, ...]
    outputs: tuple[str, ...]
    """Empty for all that the model gives."""
    seconds: float | None = None
    """How long the caller would wait; None for as long as the server gives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """One output."""

    name: str
    datatype: str
    """BYTES or FP32."""
    shape: tuple[int, ...]
    values: Sequence[Any]
    """Flat, row by row."""
    classes: tuple[str, ...] = ()
    """What the columns stand for."""

    @property
    def raw(self) -> bytes:
        """The values as the binary extension has them: little-endian, texts behind their length in bytes."""
        if self.datatype == "BYTES":
            return b"".join(struct.pack("<I", len(text)) + text for text in map(str.encode, self.values))
        return np.asarray(self.values, dtype="<f4").tobytes()


def request_id(given: Any) -> str:
    """Return the id that a caller gave, or that was made for it.

    Raises:
        BadRequest: It is none.
    """
    if not isinstance(given, str) or len(given) > MAX_ID_CHARACTERS:
        raise BadRequest(f"'id' must be text of at most {MAX_ID_CHARACTERS} characters")
    _check_unicode(given, "'id'")
    return given


def limit_seconds(timeout: Any) -> float | None:
    """Return the request's own limit; clients of the protocol send it as `timeout`, in microseconds.

    Raises:
        BadRequest: It is none.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 1:
        raise BadRequest(f"the parameter 'timeout' is {timeout!r}: a whole number of microseconds, at least 1")
    return min(timeout, MAX_TIMEOUT) / 1e6


def check_input(names: Sequence[tuple[Any, Any]]) -> None:
    """Return if the inputs, by name and datatype, are the one that is taken.

    Raises:
        BadRequest: They are not.
    """
    if len(names) != 1:
        raise BadRequest("'inputs' must hold exactly one tensor, named 'text'")
    name, datatype = names[0]
    if name != "text" or datatype != "BYTES":
        raise BadRequest(f"the input must be named 'text' with datatype BYTES, not {name!r} with {datatype!r}")


def check_texts(texts: Any, shape: Any, max_texts: int) -> tuple[str, ...]:
    """Return the input's texts if there are some, not too many, and as many as its shape says.

    Raises:
        BadRequest: They are not what is taken.
    """
    if isinstance(texts, list) and texts and all(isinstance(row, list) and len(row) == 1 for row in texts):
        texts = [row[0] for row in texts]  # a column, row by row
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest("'data' of 'text' must be a non-empty list of strings, flat or one a row")
    if len(texts) > max_texts:
        raise BadRequest(f"{len(texts)} texts in one request: at most {max_texts}, send more requests")
    if shape not in ([len(texts)], [len(texts), 1]):
        raise BadRequest(f"'shape' of 'text' is {shape!r} and 'data' has {len(texts)} texts")
    for text in texts:
        _check_unicode(text, "a text")
    return tuple(texts)


def _check_unicode(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{name} holds half a surrogate pair: send valid Unicode") from None


def unpack_texts(raw: bytes, max_texts: int) -> list[str]:
    """Return the texts of a BYTES tensor in binary, each behind its length: four bytes, little-endian.

    Raises:
        BadRequest: The lengths do not add up, or a text is not UTF-8.
    """
    texts, place = list[str](), 0
    while place < len(raw) and len(texts) <= max_texts:
        start = place + 4
        if start > len(raw) or (place := start + int.from_bytes(raw[start - 4 : start], "little")) > len(raw):
            raise BadRequest("the binary data of 'text' ends within a text: each stands behind its length in 4 bytes")
        texts.append(decode_text(raw[start:place]))
    return texts


def decode_text(raw: bytes) -> str:
    """Return a text.

    Raises:
        BadRequest: It is not UTF-8.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"a text is not UTF-8: {error}") from None


def output_tensors(request: InferRequest, card: ClassifierCard, answers: Sequence[Answer]) -> list[Tensor]:
    """Return what was asked for, in that order.

    Raises:
        BadRequest: It is not what this model gives.
    """
    rows, given = len(request.texts), OUTPUTS[card.task]
    if unknown := sorted(set(request.outputs) - set(given)):
        raise BadRequest(f"outputs {unknown} are unknown: {list(given)} can be asked for")
    made = {
        "label": lambda: Tensor(
            name="label", datatype="BYTES", shape=(rows,), values=[answer.label for answer in answers]
        ),
        "score": lambda: Tensor(
            name="score", datatype="FP32", shape=(rows,), values=[answer.score for answer in answers]
        ),
        "probabilities": lambda: Tensor(
            name="probabilities",
            datatype="FP32",
            shape=(rows, len(card.labels)),
            values=[p for answer in answers for p in answer.probabilities],
            classes=card.labels,
        ),
    }
    return [made[name]() for name in request.outputs or given]


def model_metadata(model: str, versions: Sequence[str], card: ClassifierCard | None) -> dict[str, Any]:
    """Return what the protocol calls model metadata; without a card that of a model that is still to come."""
    tensors = {
        "label": ("BYTES", [-1]),
        "score": ("FP32", [-1]),
        "probabilities": ("FP32", [-1, len(card.labels) if card else -1]),
    }
    names = OUTPUTS[card.task] if card else tuple(tensors)
    return {
        "name": model,
        "versions": list(versions),
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": name, "datatype": tensors[name][0], "shape": tensors[name][1]} for name in names],
    }
