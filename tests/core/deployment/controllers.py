"""A deploy controller in a process of its own, to be killed or to race another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from operators.core.deployment.client import Server
from operators.core.deployment.deploy import deploy
from operators.core.deployment.spec import DeploymentSpec
from operators.core.errors import Overtaken
from operators.core.settings import StorageSettings
from operators.core.storage import open_store
from tests.core.deployment.conftest import TOKEN
from tests.core.deployment.tiny import RECIPE
from tests.core.signers import TRUSTED

OVERTAKEN = 75


def start_controller(
    storage: StorageSettings, servers: Sequence[Server], verdict: str, spec: DeploymentSpec
) -> subprocess.Popen[str]:
    """Have a process deploy; its status is `OVERTAKEN` where another one went on instead."""
    job = {
        "storage": storage.to_json(), "servers": [one.url for one in servers], "verdict": verdict, "spec": asdict(spec)
    }  # fmt: skip
    running = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, text=True)
    assert running.stdin is not None
    running.stdin.write(json.dumps(job))
    running.stdin.close()
    return running


def main() -> int:
    """Deploy what standard input says; return the exit status."""
    job = json.load(sys.stdin)
    store = open_store(StorageSettings.from_json(job["storage"]))
    servers = [Server(url, RECIPE, TOKEN, timeout_seconds=10) for url in job["servers"]]
    spec = DeploymentSpec(**{**job["spec"], "shares": tuple(job["spec"]["shares"])})
    try:
        deploy(store, servers, recipe=RECIPE, verdict=job["verdict"], trusted=TRUSTED, spec=spec)
    except Overtaken:
        return OVERTAKEN
    return 0


if __name__ == "__main__":
    sys.exit(main())
