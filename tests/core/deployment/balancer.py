"""Two model servers behind the platform's balancer, and callers that count every answer."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import httpx

from operators.core.deployment.server.limits import Limits
from operators.local.caddy import local_configuration
from operators.local.tls import Tls
from tests.core.deployment.conftest import ServerProcess
from tests.core.deployment.tiny import RECIPE

CALLERS = 3
PAUSE_SECONDS = 0.02
"""Of a caller between two requests."""


@dataclass(slots=True)
class Calls:
    """What callers met."""

    answers: Counter[tuple[int, str]] = field(default_factory=Counter)
    """By status and version; status 0 where there was none."""

    @property
    def failed(self) -> int:
        """Requests without an answer, or with another one than 200."""
        return sum(count for (status, _), count in self.answers.items() if status != 200)

    def by(self, version: str) -> int:
        """Return how many requests a version answered."""
        return self.answers[200, version]


@contextmanager
def balanced(
    folder: Path, servers: Sequence[ServerProcess], tls: Tls | None = None, health: int = 200
) -> Iterator[str]:
    """Run the balancer over the servers while a block runs; gives its address once its health is `health`."""
    tls = tls or Tls()
    ports = {"balancer": _free_port(), "balancer-admin": _free_port(), "server-1": servers[0].port,
             "server-2": servers[1].port}  # fmt: skip
    (folder / "caddy.json").write_text(json.dumps(local_configuration(ports, Limits(), tls)))
    program = Path(sys.executable).parent / "caddy"
    caddy = subprocess.Popen([program, "run", "--config", folder / "caddy.json"], stderr=subprocess.DEVNULL)
    url = tls.balancer_url(ports["balancer"])
    verify = tls.balancer.pinned() if tls.balancer else True
    try:
        _wait(url, verify, health)
        yield url
    finally:
        caddy.send_signal(signal.SIGTERM)
        caddy.wait(10)


@contextmanager
def steady_calls(url: str, texts: Sequence[str], verify: ssl.SSLContext | bool = True) -> Iterator[Calls]:
    """Have callers ask these texts in turn, each on a connection that it keeps, while a block runs."""
    calls, over, lock = Calls(), threading.Event(), threading.Lock()

    def call(caller: int) -> None:
        with httpx.Client(timeout=20, verify=verify) as client:
            for number, text in enumerate(cycle(texts)):
                if over.wait(PAUSE_SECONDS):
                    return
                answer = _ask(client, url, text, f"caller-{caller}-{number}")
                with lock:
                    calls.answers[answer] += 1

    callers = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
    for one in callers:
        one.start()
    try:
        yield calls
    finally:
        over.set()
        for one in callers:
            one.join()


def _ask(client: httpx.Client, url: str, text: str, request_id: str) -> tuple[int, str]:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    try:
        response = client.post(f"{url}/v2/models/{RECIPE}/infer", json={"id": request_id, "inputs": [tensor]})
    except httpx.TransportError as error:
        return 0, type(error).__name__
    return response.status_code, response.json().get("model_version", response.text) if response.content else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str, verify: ssl.SSLContext | bool, health: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/v2/health/ready", verify=verify).status_code == health:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"the balancer's health is not {health} after 20 s")
