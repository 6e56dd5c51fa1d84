"""Requests and answers of the protocol's gRPC form, as this server uses them."""

from __future__ import annotations

import re
from typing import Any

from operators.core.deployment.server.open_inference import MESSAGES
from operators.core.deployment.server.protocol import (
    BadRequest,
    InferRequest,
    check_input,
    check_texts,
    decode_text,
    limit_seconds,
    request_id,
    unpack_texts,
)
from operators.core.deployment.server.service import Answered

_NUMBER = re.compile(r"[0-9]{1,18}")


def decode_request(message: Any, given_id: str, remaining_seconds: float | None, max_texts: int) -> InferRequest:
    """Read an inference request.

    Args:
        message: A `ModelInferRequest`.
        given_id: For a request that has no `id`.
        remaining_seconds: What is left of the call's deadline; None where it has none.
        max_texts: Of one request.

    Raises:
        BadRequest: It is no request for one BYTES tensor of texts.
    """
    seconds = limit_seconds(_timeout(message))
    limits = [limit for limit in (seconds, remaining_seconds) if limit is not None]
    return InferRequest(
        id=request_id(message.id or given_id),
        texts=_texts(message, max_texts),
        outputs=tuple(output.name for output in message.outputs),
        seconds=min(limits) if limits else None,
    )


def encode_response(model: str, request: InferRequest, answered: Answered, *, is_raw: bool) -> Any:
    """Return a `ModelInferResponse`; raw where the request was."""
    response = MESSAGES["ModelInferResponse"](model_name=model, model_version=answered.version, id=request.id)
    for tensor in answered.tensors:
        output = response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if tensor.classes:
            output.parameters["classes"].string_param = "\n".join(tensor.classes)
        if is_raw:
            response.raw_output_contents.append(tensor.raw)
        elif tensor.datatype == "BYTES":
            output.contents.bytes_contents.extend(text.encode() for text in tensor.values)
        else:
            output.contents.fp32_contents.extend(tensor.values)
    return response


def _timeout(message: Any) -> Any:
    if "timeout" not in message.parameters:
        return None
    choice = message.parameters["timeout"].WhichOneof("parameter_choice")
    value = getattr(message.parameters["timeout"], choice) if choice else None
    # Clients send it as a number or as a text of one.
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _texts(message: Any, max_texts: int) -> tuple[str, ...]:
    check_input([(tensor.name, tensor.datatype) for tensor in message.inputs])
    tensor, raw = message.inputs[0], list(message.raw_input_contents)
    contents = tensor.contents.bytes_contents
    if bool(raw) == bool(contents) or len(raw) > 1:
        raise BadRequest("the texts must stand either in 'bytes_contents' or in one entry of 'raw_input_contents'")
    texts = unpack_texts(raw[0], max_texts) if raw else [decode_text(text) for text in contents]
    return check_texts(texts, list(tensor.shape), max_texts)
