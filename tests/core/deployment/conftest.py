"""Fixtures of the deployment tests: real server processes on loopback."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
import uvicorn

from operators.core.deployment.client import Server, Serving, bring
from operators.core.deployment.releases import Release, Wanted, make_release
from operators.core.deployment.server.access import Access
from operators.core.deployment.server.app import build_app
from operators.core.deployment.server.limits import Limits
from operators.core.deployment.server.release_files import ReleaseFiles
from operators.core.deployment.server.service import Service
from operators.core.deployment.server.settings import SERVER_VARIABLE, ServerSettings
from operators.core.deployment.server.versions import Versions
from operators.core.settings import STORAGE_VARIABLE, StorageSettings
from operators.core.storage import Store, open_store
from tests.core.deployment.tiny import RECIPE, tiny_verdict
from tests.core.signers import TRUSTED

TOKEN = "a-token-for-tests-only"


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """A model server of its own process, with its own folder."""

    def __init__(self, name: str, folder: Path, storage: StorageSettings) -> None:
        self.port, self.grpc_port = free_port(), free_port()
        self.name, self.folder, self._storage = name, folder, storage
        self.settings = ServerSettings(trusted=TRUSTED)
        self.verify: ssl.SSLContext | bool = True
        self.log: Path | None = None
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it is live."""
        command = [sys.executable, "-m", "operators.core.deployment.server", "--port", str(self.port)]
        command += ["--grpc-port", str(self.grpc_port)]
        command += ["--name", self.name, "--folder", str(self.folder), "--model", RECIPE]
        environment = {
            **os.environ,
            STORAGE_VARIABLE: self._storage.to_json(),
            SERVER_VARIABLE: self.settings.to_json(),
            "NIGHTSHIFT_SERVING_TOKEN": TOKEN,
        }
        with open(self.log or os.devnull, "ab") as log:
            self.process = subprocess.Popen(command, env=environment, stderr=log if self.log else None)
        self.wait_for("/v2/health/live")

    def wait_for(self, path: str, seconds: float = 30.0) -> None:
        """Return once a route answers 200."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if httpx.get(self.url + path, verify=self.verify).status_code == 200:
                    return
            except httpx.TransportError:
                assert self.process is not None and self.process.poll() is None, "the server ended"
            time.sleep(0.05)
        raise AssertionError(f"{path} is not 200 after {seconds} s")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its exit status."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(30)

    def controlled(self) -> Server:
        """Return it as a controller reaches it."""
        return Server(self.url, RECIPE, TOKEN, timeout_seconds=10)


class ServerThread:
    """The same server in a thread of the test: a real socket, without the seconds that a process needs to start."""

    def __init__(
        self,
        name: str,
        folder: Path,
        storage: StorageSettings,
        limits: Limits | None = None,
        api_keys: dict[str, str] | None = None,
        trusted: Sequence[str] = TRUSTED,
    ) -> None:
        self.folder = folder
        files = ReleaseFiles(RECIPE, lambda: open_store(storage), trusted, TOKEN)
        self.versions = Versions(folder, files, threads=1)
        service = Service(name=name, model=RECIPE, versions=self.versions, limits=limits or Limits())
        app = build_app(service, Access(api_keys or {}, TOKEN))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()

    def stop(self) -> None:
        """End it as SIGTERM would."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def controlled(self) -> Server:
        """Return it as a controller reaches it."""
        return Server(self.url, RECIPE, TOKEN, timeout_seconds=10)


@pytest.fixture
def servers(tmp_path: Path, storage_settings: StorageSettings, store: Store) -> Iterator[list[ServerThread]]:
    """Two running servers of one store."""
    running = [ServerThread(f"server-{n}", tmp_path / f"server-{n}", storage_settings) for n in (1, 2)]
    yield running
    for one in running:
        one.stop()


@pytest.fixture
def controlled(servers: list[ServerThread]) -> Iterator[list[Server]]:
    """The two servers as a controller reaches them."""
    reached = [one.controlled() for one in servers]
    yield reached
    for one in reached:
        one.close()


@pytest.fixture
def process(tmp_path: Path, storage_settings: StorageSettings) -> Iterator[ServerProcess]:
    """A running server of its own process, to be killed."""
    one = ServerProcess("server-1", tmp_path / "process-1", storage_settings)
    one.start()
    yield one
    if one.process is not None and one.process.poll() is None:
        one.stop(signal.SIGKILL)


@pytest.fixture
def live(store: Store, process: ServerProcess) -> Release:
    """A release that the server serves."""
    release = make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store), TRUSTED))
    controlled = process.controlled()
    bring(controlled, Serving(releases={release.version: release.digest}, current=release.version))
    controlled.close()
    return release
