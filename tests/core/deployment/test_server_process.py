"""A server of its own process: killed, cut off from the store, its copy tampered with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from operators.core.deployment.deploy import Deployed, deploy
from operators.core.deployment.spec import DeploymentSpec
from operators.core.storage import Store
from tests.core.deployment.conftest import ServerProcess
from tests.core.deployment.tiny import RECIPE, tiny_verdict
from tests.core.signers import TRUSTED

pytestmark = pytest.mark.integration

SPEC = DeploymentSpec(
    shares=(1.0,), watch_seconds=0.1, min_sample=20, tolerated_errors=0.2, server_timeout_seconds=5, max_slowdown=4.0
)
SHIFTED = ((0.0, 0.0), (0.2, 0.0), (5.0, 0.0), (0.0, 5.0), (0.0, 1.0))


def _deploy(store: Store, process: ServerProcess, verdict: str) -> Deployed:
    server = process.controlled()
    try:
        return deploy(store, [server], recipe=RECIPE, verdict=verdict, trusted=TRUSTED, spec=SPEC)
    finally:
        server.close()


def _former(process: ServerProcess) -> str | None:
    server = process.controlled()
    try:
        return server.serving().former
    finally:
        server.close()


def _ask(url: str) -> httpx.Response:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["lottery"]}
    return httpx.post(f"{url}/v2/models/{RECIPE}/infer", json={"inputs": [tensor]})


def test_a_killed_server_serves_the_same_version_with_the_store_gone(
    tmp_path: Path, store: Store, process: ServerProcess
) -> None:
    """SIGKILL, no store left, started again: ready within seconds with the version it served, the former one too."""
    first = _deploy(store, process, tiny_verdict(store, day="2002-09-25"))
    second = _deploy(store, process, tiny_verdict(store, SHIFTED))
    process.stop(signal.SIGKILL)
    for site in ("site_a", "site_b", "site_c"):
        shutil.rmtree(tmp_path / site)
    begun = time.monotonic()
    process.start()
    process.wait_for("/v2/health/ready")

    assert time.monotonic() - begun < 8
    assert second.version == _ask(process.url).json()["model_version"]
    assert first.version == _former(process)


@pytest.mark.parametrize("damage", ["changed", "unlisted", "missing"])
def test_a_tampered_copy_is_refused(damage: str, tmp_path: Path, store: Store, process: ServerProcess) -> None:
    """A local copy that is not exactly its manifest is not served: without a store the server is not ready."""
    done = _deploy(store, process, tiny_verdict(store))
    process.stop()
    for site in ("site_a", "site_b", "site_c"):
        shutil.rmtree(tmp_path / site)
    files = process.folder / "versions" / done.version / "files"
    if damage == "changed":
        data = bytearray((files / "model.onnx").read_bytes())
        data[-1] ^= 1
        (files / "model.onnx").write_bytes(data)
    elif damage == "unlisted":
        (files / "extra.py").write_text("print()")
    else:
        (files / "tokenizer.json").unlink()
    process.start()

    with pytest.raises(AssertionError, match="not 200"):
        process.wait_for("/v2/health/ready", seconds=2)


def test_a_tampered_copy_is_fetched_anew(store: Store, process: ServerProcess) -> None:
    """With the store there, a tampered copy is replaced by a verified one and the same version is served."""
    done = _deploy(store, process, tiny_verdict(store))
    process.stop()
    (process.folder / "versions" / done.version / "files" / "model.onnx").write_bytes(b"other")
    process.start()
    process.wait_for("/v2/health/ready")

    assert done.version == _ask(process.url).json()["model_version"]


def test_a_server_that_trusts_nobody_does_not_start(process: ServerProcess) -> None:
    """Without trusted keys, or without settings, the process ends at once and says what is missing."""
    command = [sys.executable, "-m", "operators.core.deployment.server", "--port", "1", "--name", "x"]
    command += ["--folder", str(process.folder), "--model", RECIPE]
    told = [
        subprocess.run(command, env={**os.environ, **more}, capture_output=True, text=True, check=False)
        for more in ({}, {"NIGHTSHIFT_SERVER": '{"trusted": []}'})
    ]

    assert [one.returncode for one in told] == [2, 2]
    assert ["is not set" in told[0].stderr, "at least one public key" in told[1].stderr] == [True, True]


def test_sigterm_is_seen_by_the_balancer_before_a_connection_is_refused(store: Store, process: ServerProcess) -> None:
    """Told to end, a server is not ready and answers all the same; then it ends by itself."""
    _deploy(store, process, tiny_verdict(store))
    assert process.process is not None
    process.process.send_signal(signal.SIGTERM)
    until = time.monotonic() + 5
    while httpx.get(f"{process.url}/v2/health/ready").status_code == 200 and time.monotonic() < until:
        time.sleep(0.02)
    not_ready, answer = httpx.get(f"{process.url}/v2/health/ready").status_code, _ask(process.url).status_code

    assert (not_ready, answer) == (503, 200)
    assert process.process.wait(10) in (0, -signal.SIGTERM)


def test_sigterm_lets_a_request_under_way_finish(store: Store, process: ServerProcess) -> None:
    """A request that is half sent when SIGTERM comes is answered, and the process ends by itself."""
    _deploy(store, process, tiny_verdict(store))
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["lottery"]}
    body = json.dumps({"inputs": [tensor]}).encode()
    head = f"POST /v2/models/{RECIPE}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", process.port)) as caller:
        caller.sendall(head + body[:10])
        time.sleep(0.2)
        assert process.process is not None
        process.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        caller.sendall(body[10:])
        caller.settimeout(10)
        answer = caller.recv(65536)
    status = process.process.wait(10)

    assert answer.startswith(b"HTTP/1.1 200")
    assert status in (0, -signal.SIGTERM)
