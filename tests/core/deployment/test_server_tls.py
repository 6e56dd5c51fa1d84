"""TLS and keys on both ports of a server process, and what its log says of a request."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import pytest
import trustme

from operators.core.deployment.server.open_inference import MESSAGES, SERVICE
from operators.core.settings import StorageSettings
from operators.core.storage import Store
from tests.core.deployment.conftest import ServerProcess
from tests.core.deployment.tiny import RECIPE

pytestmark = pytest.mark.integration

KEY = "a key that nobody guesses"


@pytest.fixture
def authority() -> trustme.CA:
    """A certificate authority of this test."""
    return trustme.CA()


@pytest.fixture
def server(
    tmp_path: Path, storage_settings: StorageSettings, store: Store, authority: trustme.CA
) -> Iterator[ServerProcess]:
    """A server with a certificate, and with one caller's key."""
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    one = ServerProcess("server-1", tmp_path / "server", storage_settings)
    one.url = one.url.replace("http:", "https:")
    one.verify = _trusting(authority)
    one.log = tmp_path / "server.log"
    one.settings = replace(
        one.settings,
        api_keys={"mail": hashlib.sha256(KEY.encode()).hexdigest()},
        tls_certificate=str(tmp_path / "chain.pem"),
        tls_key=str(tmp_path / "key.pem"),
    )
    one.start()
    yield one
    one.stop()


def _trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_rest_and_grpc_speak_tls_and_ask_for_the_key(server: ServerProcess, authority: trustme.CA) -> None:
    """Who trusts the certificate and has the key is answered on both ports; who lacks either is not."""
    model = f"{server.url}/v2/models/{RECIPE}"
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    with grpc.secure_channel(f"127.0.0.1:{server.grpc_port}", credentials) as channel:
        metadata = channel.unary_unary(
            f"/{SERVICE}/ModelMetadata",
            request_serializer=MESSAGES["ModelMetadataRequest"].SerializeToString,
            response_deserializer=MESSAGES["ModelMetadataResponse"].FromString,
        )
        wanted = MESSAGES["ModelMetadataRequest"](name=RECIPE)
        name = metadata(wanted, metadata=(("x-api-key", KEY),), timeout=10).name
        with pytest.raises(grpc.RpcError) as refused:
            metadata(wanted, timeout=10)
    answers = [
        httpx.get(model, headers=headers, verify=_trusting(authority)).status_code
        for headers in ({"X-API-Key": KEY}, {"X-API-Key": "another"})
    ]

    assert (name, refused.value.code().name) == (RECIPE, "UNAUTHENTICATED")
    assert answers == [200, 401]
    with pytest.raises(httpx.ConnectError):
        httpx.get(model)
    with pytest.raises(httpx.TransportError):
        httpx.get(model.replace("https:", "http:"))


def test_the_log_is_json_with_request_ids_and_no_key(server: ServerProcess) -> None:
    """Each request is a line with its id, status, caller and time; neither key nor text stands in it."""
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a private text"]}]}
    httpx.post(
        f"{server.url}/v2/models/{RECIPE}/infer", json=body, verify=server.verify,
        headers={"X-API-Key": KEY, "X-Request-Id": "request-5"},
    )  # fmt: skip
    text, until = "", time.monotonic() + 5
    while "request-5" not in text and time.monotonic() < until:  # the line follows the answer
        text = (server.folder.parent / "server.log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    (line,) = [one for one in lines if one.get("request_id") == "request-5"]

    assert (line["status"], line["caller"], line["method"]) == (503, "mail", "POST")
    assert line["ms"] > 0
    assert KEY not in text and "private" not in text
