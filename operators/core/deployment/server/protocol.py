"""Open Inference Protocol v2, the part we speak: raw text in, label and score out.

A label is what a data set would hold: of a token classification the text's spans, as `core.labels` writes them.

Source:
    https://github.com/kserve/open-inference-protocol, REST specification.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from operators.core.labels import Task

if TYPE_CHECKING:
    from operators.core.models.card import ClassifierCard
    from operators.core.models.classifier import Answer

MAX_ID_CHARACTERS = 256
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


def decode_request(body: bytes, max_texts: int) -> InferRequest:
    """Read an inference request of at most `max_texts` texts.

    Raises:
        BadRequest: It is no JSON, or no request for one BYTES tensor of texts.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadRequest("the body must be a JSON object with 'inputs'")
    request_id = document.get("id") or uuid.uuid4().hex
    if not isinstance(request_id, str) or len(request_id) > MAX_ID_CHARACTERS:
        raise BadRequest(f"'id' must be text of at most {MAX_ID_CHARACTERS} characters")
    return InferRequest(
        id=request_id,
        texts=_texts(document.get("inputs"), max_texts),
        outputs=_outputs(document.get("outputs")),
        seconds=_seconds(document.get("parameters")),
    )


def _seconds(parameters: Any) -> float | None:
    """Return the request's own limit; the protocol's clients send it as `timeout`, in microseconds."""
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        raise BadRequest("'parameters' must be an object")
    timeout = parameters.get("timeout")
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 1:
        raise BadRequest(f"the parameter 'timeout' is {timeout!r}: a whole number of microseconds, at least 1")
    return timeout / 1e6


def _texts(inputs: Any, max_texts: int) -> tuple[str, ...]:
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise BadRequest("'inputs' must hold exactly one tensor, named 'text'")
    tensor = inputs[0]
    if tensor.get("name") != "text" or tensor.get("datatype") != "BYTES":
        raise BadRequest(
            f"the input must be named 'text' with datatype BYTES, not {tensor.get('name')!r} "
            f"with {tensor.get('datatype')!r}"
        )
    texts = tensor.get("data")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest("'data' of 'text' must be a non-empty flat list of strings")
    if len(texts) > max_texts:
        raise BadRequest(f"{len(texts)} texts in one request: at most {max_texts}, send more requests")
    if tensor.get("shape") not in ([len(texts)], [len(texts), 1]):
        raise BadRequest(f"'shape' of 'text' is {tensor.get('shape')!r} and 'data' has {len(texts)} texts")
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        raise BadRequest("a text holds half a surrogate pair: send valid Unicode")
    return tuple(texts)


def _outputs(outputs: Any) -> tuple[str, ...]:
    if outputs is None or outputs == []:
        return ()
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise BadRequest("'outputs' must be a list of objects with 'name'")
    return tuple(str(one.get("name")) for one in outputs)


def encode_response(
    model: str, version: str, request: InferRequest, card: ClassifierCard, answers: Sequence[Answer]
) -> dict[str, Any]:
    """Return the response document; `model_version` says who answered.

    Raises:
        BadRequest: Outputs are asked for that this model does not give.
    """
    rows, given = len(request.texts), OUTPUTS[card.task]
    if unknown := sorted(set(request.outputs) - set(given)):
        raise BadRequest(f"outputs {unknown} are unknown: {list(given)} can be asked for")
    tensors = {
        "label": ("BYTES", [rows], [answer.label for answer in answers]),
        "score": ("FP32", [rows], [answer.score for answer in answers]),
        "probabilities": ("FP32", [rows, len(card.labels)], [p for answer in answers for p in answer.probabilities]),
    }
    outputs: list[dict[str, Any]] = []
    for name in request.outputs or given:
        datatype, shape, values = tensors[name]
        outputs.append({"name": name, "datatype": datatype, "shape": shape, "data": values})
        if name == "probabilities":
            outputs[-1]["parameters"] = {"classes": list(card.labels)}
    return {"model_name": model, "model_version": version, "id": request.id, "outputs": outputs}


def model_metadata(model: str, versions: list[str], card: ClassifierCard | None) -> dict[str, Any]:
    """Return what the protocol calls model metadata; without a card that of a model that is still to come."""
    tensors = {
        "label": ("BYTES", [-1]),
        "score": ("FP32", [-1]),
        "probabilities": ("FP32", [-1, len(card.labels) if card else -1]),
    }
    names = OUTPUTS[card.task] if card else tuple(tensors)
    return {
        "name": model,
        "versions": versions,
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": name, "datatype": tensors[name][0], "shape": tensors[name][1]} for name in names],
    }
