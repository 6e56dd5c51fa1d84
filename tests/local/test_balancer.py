"""The balancer over real servers: one is killed under load, one is told to end, and no request is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from operators.core.deployment.client import Serving, bring
from operators.core.deployment.releases import Wanted, make_release
from operators.core.deployment.server.limits import Limits
from operators.core.settings import StorageSettings
from operators.core.storage import Store
from operators.local import caddy
from operators.local.services import BIN
from tests.core.deployment.balancer import balanced as two_places
from tests.core.deployment.conftest import ServerProcess, free_port
from tests.core.deployment.tiny import RECIPE, tiny_verdict
from tests.core.signers import TRUSTED

pytestmark = pytest.mark.integration


class Balanced:
    """Two servers and a free place behind Caddy, and callers that never stop."""

    def __init__(self, servers: list[ServerProcess], url: str) -> None:
        self.servers, self.url = servers, url
        self.statuses: list[int | str] = []
        self._over = threading.Event()
        self._callers = [threading.Thread(target=self._call, args=(number,)) for number in range(4)]

    def __enter__(self) -> Balanced:
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for caller in self._callers:
            caller.join()

    def _call(self, caller: int) -> None:
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["lottery"]}
        with httpx.Client(timeout=20) as client:
            while not self._over.is_set():
                try:
                    response = client.post(f"{self.url}/v2/models/{RECIPE}/infer", json={"inputs": [tensor]})
                    self.statuses.append(response.status_code)
                except httpx.TransportError as error:
                    self.statuses.append(f"{caller}: {error!r}")
                time.sleep(0.01)

    def wait_for(self, answers: int) -> None:
        """Return when so many more requests have ended."""
        until, before = time.monotonic() + 60, len(self.statuses)
        while len(self.statuses) < before + answers:
            assert time.monotonic() < until, "the load stands still"
            time.sleep(0.05)


def _answered(server: ServerProcess) -> float:
    text = httpx.get(f"{server.url}/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == "nightshift_requests_total")


def _wait_until_asked(server: ServerProcess) -> float:
    """Return how long it takes until a server has answered a request."""
    begun = time.monotonic()
    while _answered(server) == 0:
        assert time.monotonic() - begun < 30, "nothing comes to the server"
        time.sleep(0.05)
    return time.monotonic() - begun


@pytest.fixture
def balanced(tmp_path: Path, storage_settings: StorageSettings, store: Store) -> Iterator[Balanced]:
    """Two servers with a release, behind Caddy, which has a third place."""
    release = make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store), TRUSTED))
    with contextlib.ExitStack() as stack:
        servers = [ServerProcess(f"server-{n}", tmp_path / f"server-{n}", storage_settings) for n in (1, 2)]
        for server in servers:
            server.start()
            stack.callback(_end, server)
            controlled = server.controlled()
            bring(controlled, Serving(releases={release.version: release.digest}, current=release.version))
            controlled.close()
        ports = {"balancer": free_port(), "balancer-admin": free_port(), "server-3": free_port()}
        ports = {"server-1": servers[0].port, "server-2": servers[1].port, **ports}
        path = tmp_path / "caddy.json"
        path.write_text(json.dumps(caddy.local_configuration(ports, Limits())))
        home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        running = subprocess.Popen([str(BIN / "caddy"), "run", "--config", str(path)], env=home)
        stack.callback(running.wait)
        stack.callback(running.terminate)
        url = f"http://127.0.0.1:{ports['balancer']}"
        until = time.monotonic() + 30
        while not _is_ready(url):
            assert running.poll() is None and time.monotonic() < until, "the balancer did not come up"
            time.sleep(0.05)
        yield Balanced(servers, url)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def _end(server: ServerProcess) -> None:
    if server.process is not None and server.process.poll() is None:
        server.stop(signal.SIGKILL)


def test_a_killed_server_costs_no_request_and_comes_back(balanced: Balanced) -> None:
    """SIGKILL under load: every request is answered, by the other one; started again, it is asked again."""
    first, second = balanced.servers
    with balanced:
        balanced.wait_for(100)
        both = [_answered(server) for server in balanced.servers]
        first.stop(signal.SIGKILL)
        balanced.wait_for(100)
        alone = _answered(second)
        first.start()
        first.wait_for("/v2/health/ready")
        back_seconds = _wait_until_asked(first)

    assert set(balanced.statuses) == {200}
    assert min(both) > 10
    assert alone >= both[1] + 90
    assert back_seconds < 5


def test_a_server_told_to_end_costs_no_request(balanced: Balanced) -> None:
    """SIGTERM under load: the balancer leaves before the port closes, and nobody notices."""
    first, _ = balanced.servers
    with balanced:
        balanced.wait_for(50)
        assert first.process is not None
        first.process.send_signal(signal.SIGTERM)
        status = first.process.wait(30)
        balanced.wait_for(50)

    assert set(balanced.statuses) == {200}
    assert status in (0, -signal.SIGTERM)


def _ask(url: str) -> int:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["lottery"]}
    return httpx.post(f"{url}/v2/models/{RECIPE}/infer", json={"inputs": [tensor]}, timeout=20).status_code


def test_a_server_that_hangs_is_out_within_a_second_and_back_when_it_answers(balanced: Balanced) -> None:
    """Stopped by SIGSTOP it takes connections and answers nothing: it is asked nothing more until it goes on."""
    first, second = balanced.servers
    assert first.process is not None
    first.process.send_signal(signal.SIGSTOP)
    time.sleep(1.05)
    begun = time.monotonic()
    statuses = [_ask(balanced.url) for _ in range(20)]
    took = time.monotonic() - begun
    alone = _answered(second)
    first.process.send_signal(signal.SIGCONT)
    with balanced:
        back_seconds = _wait_until_asked(first)

    assert statuses == [200] * 20 and took < 10
    assert alone == 20
    assert back_seconds < 5


def test_a_fixed_set_of_servers_takes_turns(tmp_path: Path, balanced: Balanced) -> None:
    """As many places as servers: of 40 requests each has 20."""
    with two_places(tmp_path, balanced.servers) as url:
        statuses = [_ask(url) for _ in range(40)]

    assert statuses == [200] * 40
    assert [_answered(server) for server in balanced.servers] == [20, 20]


def test_the_balancer_passes_no_way_to_the_repository(balanced: Balanced) -> None:
    """Repository, metrics and description stay inside; health and the model are passed."""
    paths = ["/v2/repository/index", "/metrics", "/openapi.json", "/"]

    assert [httpx.get(balanced.url + path).status_code for path in paths] == [404] * 4
    assert httpx.get(f"{balanced.url}/v2/models/{RECIPE}").status_code == 200
