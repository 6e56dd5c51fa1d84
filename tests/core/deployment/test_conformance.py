"""Triton's client against our server, by REST and by gRPC, and the same requests against MLServer.

Both are in an environment of their own (their protobuf is not ours): `make test-oip` makes it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from operators.core.deployment.releases import Release, Wanted, make_release
from operators.core.storage import Store
from tests.core.deployment.conftest import TOKEN, ServerProcess, free_port
from tests.core.deployment.tiny import RECIPE, tiny_verdict
from tests.core.signers import TRUSTED

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-bench-serving" / "bin" / "python"
FILES = Path(__file__).parent

pytestmark = [
    pytest.mark.oip,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="no .venv-bench-serving with tritonclient and MLServer: make test-oip"
    ),
]


def _ask(*arguments: str) -> dict[str, dict[str, Any]]:
    command = [str(PYTHON), str(FILES / "oip_client.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.fixture
def mlserver(tmp_path: Path, process: ServerProcess, live: Release) -> Iterator[tuple[str, str]]:
    """REST and gRPC addresses of an MLServer that has the same model."""
    folder = tmp_path / "mlserver"
    shutil.copytree(process.folder / "versions" / live.version / "files", folder)
    shutil.copy(FILES / "mlserver_runtime.py", folder)
    http, grpc, metrics = free_port(), free_port(), free_port()
    settings = {
        "host": "127.0.0.1",
        "http_port": http,
        "grpc_port": grpc,
        "metrics_port": metrics,
        "parallel_workers": 0,
    }
    model = {
        "name": RECIPE,
        "implementation": "mlserver_runtime.OnnxClassifier",
        "parameters": {"uri": str(folder), "version": live.version},
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "label", "datatype": "BYTES", "shape": [-1]}],
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    command = [str(PYTHON.with_name("mlserver")), "start", str(folder)]
    with (tmp_path / "mlserver.log").open("w") as log:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        running = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    until = time.monotonic() + 90
    while not _is_ready(http):
        assert running.poll() is None and time.monotonic() < until, (tmp_path / "mlserver.log").read_text()[-3000:]
        time.sleep(0.2)
    yield f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"
    running.terminate()
    try:
        running.wait(20)
    except subprocess.TimeoutExpired:
        running.kill()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v2/models/{RECIPE}/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_triton_s_client_gets_what_it_asks_for(store: Store, process: ServerProcess, live: Release) -> None:
    """Health, metadata, inference in JSON and in binary, versions, refusals and the repository, the same both ways."""
    other = make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store, day="2002-09-27"), TRUSTED))
    config = json.dumps({"version": other.version, "release": other.digest})
    told = _ask(f"127.0.0.1:{process.port}", f"127.0.0.1:{process.grpc_port}", RECIPE, live.version, TOKEN, config)
    labels = ["ham", "spam", "spam"]

    for protocol, steps in told.items():
        assert all(steps[name] is True for name in ("live", "ready", "model ready", "version ready")), protocol
        assert [name for name, _ in steps["metadata"]["outputs"]] == ["label", "score", "probabilities"]
        assert steps["all outputs"]["score"][:2] == pytest.approx([0.98201379, 0.98201379])
        assert [labels] * 3 == [steps[name]["label"] for name in ("all outputs", "one output", "a column")]
        assert (steps["by version"]["version"], steps["with an id"]["id"]) == (live.version, "mine")
        assert "must be named 'text'" in steps["another input"]["refused"]
        repository = steps["repository"]
        assert "token" in repository["stranger"]["refused"]
        assert repository["before"] == repository["after"] == [live.version]
        assert repository["loaded"] == sorted([live.version, other.version])
    assert told["binary"]["all outputs"] == told["grpc"]["all outputs"] | {"id": told["binary"]["all outputs"]["id"]}


def test_mlserver_answers_the_same_requests_alike(
    process: ServerProcess, live: Release, mlserver: tuple[str, str]
) -> None:
    """MLServer, with the same model, gives the same versions, labels and scores, and refuses what we refuse.

    By REST in JSON only: MLServer 1.7.1 reads no binary tensors there.
    """
    ours = _ask(f"127.0.0.1:{process.port}", f"127.0.0.1:{process.grpc_port}", RECIPE, live.version)
    theirs = _ask(*mlserver, RECIPE, live.version)

    for way in ("json", "grpc"):
        mine, other = ours[way], theirs[way]
        for name in ("all outputs", "a column", "by version", "with an id"):
            assert (mine[name]["label"], mine[name]["version"]) == (other[name]["label"], other[name]["version"])
            assert mine[name]["score"] == pytest.approx(other[name]["score"], abs=1e-6)
        assert mine["one output"]["label"] == other["one output"]["label"]
        assert mine["with an id"]["id"] == other["with an id"]["id"] == "mine"
        for name in ("live", "ready", "model ready", "version ready"):
            assert mine[name] is other[name] is True
        assert "refused" in mine["another input"] and "refused" in other["another input"]
