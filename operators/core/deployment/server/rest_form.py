"""Requests and answers of the protocol's REST form: a JSON document, and behind it tensors in binary if asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from operators.core.deployment.server.protocol import (
    BadRequest,
    InferRequest,
    Tensor,
    check_input,
    check_texts,
    limit_seconds,
    request_id,
    unpack_texts,
)

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The header that says how long the JSON part is, where a binary one follows."""
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RestRequest:
    """A request, and which outputs shall come in binary."""

    infer: InferRequest
    is_binary: bool
    """Of outputs that say nothing themselves."""
    binary: dict[str, bool]
    """Of those that do, by name."""


def decode_request(body: bytes, header_length: str | None, given_id: str, max_texts: int) -> RestRequest:
    """Read an inference request.

    Args:
        body: All of it.
        header_length: Value of the header of that name.
        given_id: For a request that has no `id`.
        max_texts: Of one request.

    Raises:
        BadRequest: It is no request for one BYTES tensor of texts.
    """
    document, raw = _parts(body, header_length)
    parameters = _object(document.get("parameters"), "'parameters'")
    outputs = document.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise BadRequest("'outputs' must be a list of objects with 'name'")
    flags = {
        str(one.get("name")): _object(one.get("parameters"), "'parameters' of an output").get("binary_data")
        for one in outputs
    }
    return RestRequest(
        infer=InferRequest(
            id=request_id(document.get("id") or given_id),
            texts=_texts(document.get("inputs"), raw, max_texts),
            outputs=tuple(flags),
            seconds=limit_seconds(parameters.get("timeout")),
        ),
        is_binary=parameters.get("binary_data_output") is True,
        binary={name: flag is True for name, flag in flags.items() if flag is not None},
    )


def encode_response(
    model: str, version: str, request: RestRequest, tensors: Sequence[Tensor]
) -> tuple[bytes, int | None]:
    """Return the body, and the length of its JSON part where a binary one follows. `model_version` is who answered."""
    outputs, blobs = list[dict[str, Any]](), list[bytes]()
    for tensor in tensors:
        output: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        parameters: dict[str, Any] = {"classes": tensor.classes} if tensor.classes else {}
        if request.binary.get(tensor.name, request.is_binary):
            blobs.append(tensor.raw)
            parameters["binary_data_size"] = len(blobs[-1])
        else:
            output["data"] = tensor.values
        outputs.append({**output, "parameters": parameters} if parameters else output)
    document = {"model_name": model, "model_version": version, "id": request.infer.id, "outputs": outputs}
    head = msgspec.json.encode(document)
    return b"".join([head, *blobs]), len(head) if blobs else None


def _parts(body: bytes, header_length: str | None) -> tuple[dict[str, Any], bytes]:
    length = len(body)
    if header_length is not None:
        if not _LENGTH.fullmatch(header_length) or int(header_length) > length:
            given = header_length[:20]
            raise BadRequest(f"{HEADER_LENGTH} is {given!r}: the bytes of the JSON part, at most {length} here")
        length = int(header_length)
    try:
        document = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadRequest("the body must be a JSON object with 'inputs'")
    return document, body[length:]


def _texts(inputs: Any, raw: bytes, max_texts: int) -> tuple[str, ...]:
    if not isinstance(inputs, list) or not all(isinstance(one, dict) for one in inputs):
        raise BadRequest("'inputs' must hold exactly one tensor, named 'text'")
    check_input([(one.get("name"), one.get("datatype")) for one in inputs])
    tensor = inputs[0]
    size = _object(tensor.get("parameters"), "'parameters' of 'text'").get("binary_data_size")
    if size is None and not raw:
        return check_texts(tensor.get("data"), tensor.get("shape"), max_texts)
    if isinstance(size, bool) or size != len(raw) or "data" in tensor:
        raise BadRequest(f"'binary_data_size' of 'text' is {size!r}, and {len(raw)} bytes follow the JSON part")
    return check_texts(unpack_texts(raw, max_texts), tensor.get("shape"), max_texts)


def _object(value: Any, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"{name} must be an object")
    return value
