"""The gRPC form of the protocol, against a server of its own process."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from operators.core.deployment.releases import Release, Wanted, make_release
from operators.core.deployment.server.open_inference import MESSAGES, SERVICE
from operators.core.storage import Store
from tests.core.deployment.conftest import TOKEN, ServerProcess
from tests.core.deployment.tiny import RECIPE, tiny_verdict
from tests.core.signers import TRUSTED

pytestmark = pytest.mark.integration

CONTROLLER = (("authorization", f"Bearer {TOKEN}"),)
Call = Callable[..., Any]


@pytest.fixture
def call(process: ServerProcess) -> Iterator[Call]:
    """Calls a method of the server by its name with the fields of its request."""
    with grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel:

        def ask(called: str, /, metadata: tuple[tuple[str, str], ...] = (), timeout: float = 10, **fields: Any) -> Any:
            method = channel.unary_unary(
                f"/{SERVICE}/{called}",
                request_serializer=MESSAGES[f"{called}Request"].SerializeToString,
                response_deserializer=MESSAGES[f"{called}Response"].FromString,
            )
            return method(MESSAGES[f"{called}Request"](**fields), timeout=timeout, metadata=metadata)

        yield ask


def _tensor(*texts: bytes, **more: Any) -> dict[str, Any]:
    contents = {"bytes_contents": list(texts)} if texts else {}
    return {"name": "text", "datatype": "BYTES", "shape": [len(texts) or 1], "contents": contents, **more}


def test_health_and_metadata(call: Call, live: Release) -> None:
    """Server, model and version say whether they are ready, and describe themselves."""
    model = call("ModelMetadata", name=RECIPE)

    assert call("ServerLive").live
    assert call("ServerReady").ready
    assert call("ModelReady", name=RECIPE, version=live.version).ready
    assert not call("ModelReady", name=RECIPE, version="other").ready
    assert (call("ServerMetadata").name, list(model.versions)) == ("server-1", [live.version])
    assert [output.name for output in model.outputs] == ["label", "score", "probabilities"]


def test_an_answer_has_label_score_and_version(call: Call, live: Release) -> None:
    """Typed contents are answered by typed contents."""
    answer = call("ModelInfer", model_name=RECIPE, id="7", inputs=[_tensor(b"meeting", b"lottery lottery")])
    label, score, probabilities = answer.outputs

    assert (answer.model_version, answer.id) == (live.version, "7")
    assert list(label.contents.bytes_contents) == [b"ham", b"spam"]
    assert list(score.contents.fp32_contents) == pytest.approx([0.98201379, 0.98201379])
    assert list(probabilities.shape) == [2, 2]


def test_raw_contents_are_answered_raw(call: Call, live: Release) -> None:
    """What a client packed it unpacks; only the outputs asked for come."""
    answer = call(
        "ModelInfer", model_name=RECIPE, inputs=[_tensor()], outputs=[{"name": "score"}],
        raw_input_contents=[struct.pack("<I", 7) + b"meeting"],
    )  # fmt: skip

    assert struct.unpack("<f", answer.raw_output_contents[0]) == pytest.approx((0.98201379,))


def _waiting(timeout: dict[str, Any]) -> dict[str, Any]:
    return {"model_name": RECIPE, "inputs": [_tensor(b"a")], "parameters": {"timeout": timeout}}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model_name": "other"}, "NOT_FOUND"),
        ({"model_name": RECIPE, "model_version": "other", "inputs": [_tensor(b"a")]}, "NOT_FOUND"),
        ({"model_name": RECIPE}, "INVALID_ARGUMENT"),
        ({"model_name": RECIPE, "inputs": [_tensor(b"\xff")]}, "INVALID_ARGUMENT"),
        ({"model_name": RECIPE, "inputs": [_tensor()]}, "INVALID_ARGUMENT"),
        (_waiting({"int64_param": -1}), "INVALID_ARGUMENT"),
        (_waiting({"string_param": "²"}), "INVALID_ARGUMENT"),
        (_waiting({"string_param": "9" * 5000}), "INVALID_ARGUMENT"),
    ],
)
def test_wrong_calls_end_with_their_code(call: Call, live: Release, fields: dict[str, Any], code: str) -> None:
    """Each refusal has the code that clients know, and a sentence."""
    with pytest.raises(grpc.RpcError) as caught:
        call("ModelInfer", **fields)

    assert caught.value.code().name == code
    assert caught.value.details()


def test_the_repository_is_the_controller_s(call: Call, store: Store, live: Release) -> None:
    """Index, load and unload of a version, for the token's holder only."""
    other = make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store, day="2002-09-27"), TRUSTED))
    config = json.dumps({"version": other.version, "release": other.digest})
    with pytest.raises(grpc.RpcError) as stranger:
        call("RepositoryIndex")
    call("RepositoryModelLoad", CONTROLLER, model_name=RECIPE, parameters={"config": {"string_param": config}})
    index = {line.version for line in call("RepositoryIndex", CONTROLLER).models}
    version = {"version": {"string_param": other.version}}
    call("RepositoryModelUnload", CONTROLLER, model_name=RECIPE, parameters=version)

    assert stranger.value.code().name == "UNAUTHENTICATED"
    assert index == {live.version, other.version}
    assert {line.version for line in call("RepositoryIndex", CONTROLLER).models} == {live.version}
    parameters = {"version": {"string_param": live.version}}
    with pytest.raises(grpc.RpcError, match="answers requests"):
        call("RepositoryModelUnload", CONTROLLER, model_name=RECIPE, parameters=parameters)
