"""Open Inference Protocol v2, the part we speak: raw text in, label and score out.

Source:
    https://github.com/kserve/open-inference-protocol, REST specification.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operators.core.deployment.server.inference import Answers

MAX_BODY_BYTES = 1 << 20
MAX_TEXTS = 64
MAX_ID_CHARACTERS = 256
OUTPUTS = ("label", "score", "probabilities")


class BadRequest(ValueError):
    """The request is wrong; the message says how and what is expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InferRequest:
    """A request as it is used here."""

    id: str
    """The caller's, or one made for it: the split goes by it."""
    texts: tuple[str, ...]
    outputs: tuple[str, ...]


def decode_request(body: bytes) -> InferRequest:
    """Read an inference request.

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
    return InferRequest(id=request_id, texts=_texts(document.get("inputs")), outputs=_outputs(document.get("outputs")))


def _texts(inputs: Any) -> tuple[str, ...]:
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
    if len(texts) > MAX_TEXTS:
        raise BadRequest(f"{len(texts)} texts in one request: at most {MAX_TEXTS}, send more requests")
    if tensor.get("shape") not in ([len(texts)], [len(texts), 1]):
        raise BadRequest(f"'shape' of 'text' is {tensor.get('shape')!r} and 'data' has {len(texts)} texts")
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        raise BadRequest("a text holds half a surrogate pair: send valid Unicode")
    return tuple(texts)


def _outputs(outputs: Any) -> tuple[str, ...]:
    if outputs is None or outputs == []:
        return OUTPUTS
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise BadRequest("'outputs' must be a list of objects with 'name'")
    names = tuple(str(one.get("name")) for one in outputs)
    if unknown := sorted(set(names) - set(OUTPUTS)):
        raise BadRequest(f"outputs {unknown} are unknown: {list(OUTPUTS)} can be asked for")
    return names


def encode_response(model: str, version: str, request: InferRequest, answers: Answers) -> dict[str, Any]:
    """Return the response document; `model_version` says who answered."""
    rows = len(request.texts)
    tensors = {
        "label": ("BYTES", [rows], list(answers.labels)),
        "score": ("FP32", [rows], list(answers.scores)),
        "probabilities": ("FP32", [rows, len(answers.classes)], [p for row in answers.probabilities for p in row]),
    }
    outputs: list[dict[str, Any]] = []
    for name in request.outputs:
        datatype, shape, values = tensors[name]
        outputs.append({"name": name, "datatype": datatype, "shape": shape, "data": values})
        if name == "probabilities":
            outputs[-1]["parameters"] = {"classes": list(answers.classes)}
    return {"model_name": model, "model_version": version, "id": request.id, "outputs": outputs}


def model_metadata(model: str, versions: list[str], classes: tuple[str, ...]) -> dict[str, Any]:
    """Return what the protocol calls model metadata."""
    return {
        "name": model,
        "versions": versions,
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "score", "datatype": "FP32", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(classes) or -1]},
        ],
    }
