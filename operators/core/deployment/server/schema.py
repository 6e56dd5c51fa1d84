"""What `/openapi.json` says of the inference routes; the others, which are the framework's, describe themselves."""

from __future__ import annotations

from typing import Any


def _tensor(**values: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"type": "string"},
            "datatype": {"enum": ["BYTES", "FP32"]},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "parameters": {"type": "object"},
            **values,
        },
    }


_TEXT = _tensor(
    name={"const": "text"},
    datatype={"const": "BYTES"},
    data={"type": "array", "description": "Texts, flat or one a row; absent where they follow in binary."},
)
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "maxLength": 256, "description": "The split between versions goes by it."},
        "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": _TEXT},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"enum": ["label", "score", "probabilities"]},
                    "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
                },
            },
        },
        "parameters": {
            "type": "object",
            "properties": {
                "timeout": {"type": "integer", "minimum": 1, "description": "Microseconds."},
                "binary_data_output": {"type": "boolean"},
            },
        },
    },
}
_RESPONSE = {
    "type": "object",
    "required": ["model_name", "model_version", "id", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": _tensor(data={"type": "array"})},
    },
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_WHY = {
    400: "The request is wrong.",
    401: "An API key is needed.",
    404: "That version is not loaded.",
    408: "The request was not sent in time.",
    413: "The request is too large.",
    415: "Compressed requests are not taken.",
    429: "There is no room now: come again after `Retry-After` seconds.",
    500: "The model broke on this request.",
    503: "No version is loaded, or no answer in time: come again after `Retry-After` seconds.",
}
_INFER: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _REQUEST}, "application/octet-stream": {}},
    },
    "responses": {
        "200": {
            "description": "The answers, in the order of the texts.",
            "content": {"application/json": {"schema": _RESPONSE}, "application/octet-stream": {}},
        },
        **{
            str(status): {"description": why, "content": {"application/json": {"schema": _ERROR}}}
            for status, why in _WHY.items()
        },
    },
}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}


def infer_paths(model: str) -> dict[str, Any]:
    """Return the description of a model's inference routes, by path."""
    path = f"/v2/models/{model}"
    return {
        f"{path}/infer": {"post": {"summary": "Answer with the version that the split chooses", **_INFER}},
        f"{path}/versions/{{version}}/infer": {
            "post": {"summary": "Answer with one version", "parameters": [_VERSION], **_INFER}
        },
    }
