"""What a stranger sends is read, or refused with its reason: nothing else comes of any bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from operators.core.deployment.server.protocol import BadRequest, Tensor
from operators.core.deployment.server.rest_form import decode_request, encode_response

ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(some.characters(exclude_categories=())),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=12), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("id", "inputs", "outputs", "parameters", "name", "datatype", "shape", "data", "timeout", "binary_data_size")


def _request(**more: Any) -> dict[str, Any]:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["Where is my card?"]}
    return {"inputs": [tensor], **more}


def _outcome(body: bytes, header_length: str | None) -> str:
    """Return the version that an answer to a request tells of, or why it was refused: nothing else may come of it."""
    try:
        request = decode_request(body, header_length, "made", 4)
    except BadRequest as refused:
        return str(refused)
    tensor = Tensor(name="label", datatype="BYTES", shape=(1,), values=["card_arrival"])
    content, length = encode_response("banking", "v1", request, [tensor])
    return str(json.loads(content[:length])["model_version"])


@given(
    some.sampled_from(FIELDS), ANYTHING, some.booleans(), some.none() | some.text(some.characters(max_codepoint=255))
)
def test_any_value_of_any_field_is_read_or_refused(
    name: str, value: Any, is_inner: bool, header_length: str | None
) -> None:
    """One field of a good request, or of its tensor, holds anything that JSON can say."""
    document = _request()
    (document["inputs"][0] if is_inner else document)[name] = value
    assert _outcome(json.dumps(document).encode(), header_length)


@given(some.binary(max_size=60), some.integers(0, 120), some.none() | some.integers(0, 200).map(str))
def test_any_bytes_are_read_or_refused(noise: bytes, place: int, header_length: str | None) -> None:
    """Bytes stand anywhere in a good request."""
    body = json.dumps(_request()).encode()
    assert _outcome(body, None) == "v1"
    assert _outcome(body[:place] + noise + body[place:], header_length)


@pytest.mark.parametrize(
    ("more", "header_length", "told"),
    [
        ({"id": "\ud800"}, None, "'id' holds half a surrogate pair"),
        ({}, "9" * 5000, "Inference-Header-Content-Length is '9999"),
        ({}, "٣", "Inference-Header-Content-Length is '٣'"),
        ({"parameters": {"timeout": 0}}, None, "'timeout' is 0: a whole number of microseconds"),
    ],
)
def test_what_is_refused_says_why(more: dict[str, Any], header_length: str | None, told: str) -> None:
    """The field, its value, and what is expected stand in the refusal."""
    with pytest.raises(BadRequest, match=told):
        decode_request(json.dumps(_request(**more)).encode(), header_length, "made", 4)


def test_a_timeout_beyond_all_measure_is_a_day() -> None:
    """A number that no float holds is a caller with patience, not an error."""
    body = json.dumps(_request(parameters={"timeout": 10**400})).encode()
    assert decode_request(body, None, "made", 4).infer.seconds == 86_400
