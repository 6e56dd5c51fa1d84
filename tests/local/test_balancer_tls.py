"""TLS from the caller to the model: the real balancer, two server processes, authorities of the test."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from operators.core.deployment.client import Serving, bring, open_servers
from operators.core.deployment.releases import Wanted, make_release
from operators.core.errors import DeploymentError
from operators.core.settings import ServingSettings, StorageSettings
from operators.core.storage import Store
from operators.local import ports, services
from operators.local.credentials import load_credentials
from operators.local.layout import Layout
from operators.local.services import Service
from operators.local.status import answers
from operators.local.supervisor import Supervisor
from operators.local.tls import Tls
from operators.local.waiting import wait_for_service
from tests.core.deployment.balancer import balanced, steady_calls
from tests.core.deployment.conftest import TOKEN, ServerProcess
from tests.core.deployment.tiny import RECIPE, tiny_verdict
from tests.core.signers import TRUSTED
from tests.local.certificates import authority, issue

pytestmark = pytest.mark.integration


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    """The servers' certificate is vouched for by one authority, the balancer's by another and for another name."""
    inner, ca = authority(tmp_path, "inner")
    outer, _ = authority(tmp_path, "outer")
    return Tls(
        balancer=issue(outer, tmp_path, "balancer", "models.example.org"),
        servers=issue(inner, tmp_path, "servers"),
        ca=ca,
    )


@pytest.fixture
def servers(tmp_path: Path, storage_settings: StorageSettings, store: Store, tls: Tls) -> Iterator[list[ServerProcess]]:
    """Two servers with TLS that hold a release, brought there by who trusts their authority."""
    assert tls.servers is not None
    running = [ServerProcess(f"server-{n}", tmp_path / f"process-{n}", storage_settings) for n in (1, 2)]
    for one in running:
        one.url, one.verify = tls.server_url(one.port), tls.servers.pinned()
        one.settings = replace(one.settings, tls_certificate=tls.servers.chain, tls_key=tls.servers.key)
        one.start()
    release = make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store), TRUSTED))
    with open_servers(_settings(running, tls.ca), RECIPE, 10) as reached:
        for server in reached:
            bring(server, Serving(releases={release.version: release.digest}, current=release.version))
    yield running
    for one in running:
        if one.process is not None and one.process.poll() is None:
            one.stop(signal.SIGKILL)


def _settings(servers: list[ServerProcess], ca: str | None) -> ServingSettings:
    return ServingSettings(servers=tuple(one.url for one in servers), balancer_url="", token=TOKEN, ca_file=ca)


def test_callers_are_answered_over_tls_through_a_killed_server(
    tmp_path: Path, servers: list[ServerProcess], tls: Tls
) -> None:
    """Every request has its answer while one server is killed and comes back; who trusts another authority has none."""
    assert tls.balancer is not None
    verify = tls.balancer.pinned()
    with balanced(tmp_path, servers, tls) as url, steady_calls(url, ["lottery"], verify) as calls:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{url}/v2/health/ready")
        plain = httpx.get(f"{url.replace('https:', 'http:')}/v2/health/ready").status_code
        is_up = answers(Service(name="balancer", command=(), url=url, certificate=tls.balancer))
        servers[0].stop(signal.SIGKILL)
        time.sleep(1)
        servers[0].start()
        servers[0].wait_for("/v2/health/ready")
        time.sleep(1)

    assert calls.failed == 0 and sum(calls.answers.values()) > 50, calls.answers
    assert (plain, is_up) == (400, True)


def test_a_server_that_nobody_vouches_for_is_never_asked(
    tmp_path: Path, servers: list[ServerProcess], tls: Tls
) -> None:
    """Its authority changed: balancer and controller both refuse, at once and by name, and send it nothing."""
    _, stranger = authority(tmp_path, "stranger")
    assert tls.ca is not None
    Path(tls.ca).write_bytes(Path(stranger).read_bytes())
    begun = time.monotonic()
    with (
        open_servers(_settings(servers, tls.ca), RECIPE, 30) as reached,
        pytest.raises(DeploymentError, match=r"the certificate of https://.* is not believed .*ca_file"),
    ):
        reached[0].serving()
    took = time.monotonic() - begun
    with balanced(tmp_path, servers, tls, health=503) as url:
        time.sleep(1)
        status = httpx.get(
            f"{url}/v2/models/{RECIPE}", verify=tls.balancer.pinned() if tls.balancer else True
        ).status_code

    assert (took < 5, status) == (True, 503)


def test_settings_of_the_controller_are_whole() -> None:
    """An authority for servers that speak plain HTTP, or one that cannot be read, is refused."""
    with pytest.raises(ValueError, match="what is to be verified is asked by https"):
        ServingSettings(servers=("http://127.0.0.1:1",), balancer_url="", token=TOKEN, ca_file="/ca.pem")
    missing = ServingSettings(servers=("https://127.0.0.1:1",), balancer_url="", token=TOKEN, ca_file="/nowhere/ca.pem")
    with (
        pytest.raises(DeploymentError, match=r"ca_file /nowhere/ca\.pem .* cannot be read"),
        open_servers(missing, RECIPE, 1),
    ):
        pass


def test_the_platform_s_services_come_up_with_tls(short_path: Path, tls: Tls) -> None:
    """By its own supervisor, from the operator's file: balancer and servers answer, and who asks believes them."""
    assert tls.balancer is not None and tls.servers is not None
    layout = Layout(home=short_path / "h")
    layout.make()
    placed = ports.wanted_ports({ports.BASE_VARIABLE: str(ports.free_base(os.getpid() + 37))})
    ports.save(layout, placed)
    wanted = {
        "balancer": {"tls_certificate": tls.balancer.chain, "tls_key": tls.balancer.key},
        "tls_certificate": tls.servers.chain,
        "tls_key": tls.servers.key,
        "tls_ca": tls.ca,
    }
    (layout.secrets / "serving.json").write_text(json.dumps(wanted))
    services.configure(layout, placed, load_credentials(layout), Path("/dags"))
    known = [one for one in services.all_services(layout, placed) if one.certificate]
    supervisor = Supervisor(layout)
    supervisor.boot(known, os.environ)
    try:
        supervisor.start(one.name for one in known)
        for one in known:
            wait_for_service(supervisor, layout, one)
        url = f"https://127.0.0.1:{placed['balancer']}/v2/health/live"
        statuses = [httpx.get(url, verify=tls.balancer.pinned()).status_code for _ in range(4)]
    finally:
        supervisor.shut_down()

    assert [one.name for one in known] == ["balancer", "server-1", "server-2"]
    # No release is there yet: the balancer finds nobody ready, which it asked by TLS.
    assert set(statuses) == {503}
