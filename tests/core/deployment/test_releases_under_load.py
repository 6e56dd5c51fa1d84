"""Releases under steady load: server processes behind the real balancer, and callers that count every answer."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from operators.core.deployment.client import Server
from operators.core.deployment.deploy import Deployed, deploy
from operators.core.deployment.releases import DeployLog, deploy_steps
from operators.core.deployment.roll_back import switch_back
from operators.core.deployment.spec import DeploymentSpec
from operators.core.errors import HealthCheckFailed
from operators.core.settings import StorageSettings
from operators.core.storage import Store
from tests.core.deployment.balancer import balanced, steady_calls
from tests.core.deployment.conftest import ServerProcess
from tests.core.deployment.controllers import start_controller
from tests.core.deployment.tiny import BREAKS_ON_POISON, GOOD, RECIPE, tiny_verdict
from tests.core.signers import TRUSTED

pytestmark = pytest.mark.integration

SPEC = DeploymentSpec(shares=(0.2, 0.5, 1.0), watch_seconds=0.5, step_seconds=60, server_timeout_seconds=20)
WORK = 12
"""Of a version as slow as the live one: some milliseconds."""
OTHER = ((0.0, 0.0), (0.2, 0.0), (5.0, 0.0), (0.0, 5.0), (0.0, 1.0))
SWAPPED = tuple((spam, ham + 1) for ham, spam in GOOD)
TEXTS = (*["meeting", "lottery"] * 16, "poison lottery")
"""One in 33 breaks a version that does not know the word."""


@pytest.fixture
def processes(tmp_path: Path, storage_settings: StorageSettings, store: Store) -> Iterator[list[ServerProcess]]:
    """Two server processes."""
    running = [ServerProcess(f"server-{n}", tmp_path / f"process-{n}", storage_settings) for n in (1, 2)]
    for one in running:
        one.start()
    yield running
    for one in running:
        if one.process is not None and one.process.poll() is None:
            one.stop(signal.SIGKILL)


@pytest.fixture
def reached(processes: list[ServerProcess]) -> Iterator[list[Server]]:
    """The two as a controller reaches them."""
    servers = [one.controlled() for one in processes]
    yield servers
    for one in servers:
        one.close()


def _deploy(store: Store, servers: list[Server], verdict: str) -> Deployed:
    return deploy(store, servers, recipe=RECIPE, verdict=verdict, trusted=TRUSTED, spec=SPEC)


def _killed_and_back(process: ServerProcess) -> threading.Thread:
    """Kill a server, and start it again a second later, as a supervisor does."""
    process.stop(signal.SIGKILL)

    def start() -> None:
        time.sleep(1)
        process.start()
        process.wait_for("/v2/health/ready")

    back = threading.Thread(target=start)
    back.start()
    return back


def test_no_request_fails_through_a_killed_controller_a_killed_server_and_a_rollback(
    tmp_path: Path, store: Store, storage_settings: StorageSettings, processes: list[ServerProcess],
    reached: list[Server],
) -> None:  # fmt: skip
    """A release whose controller is killed in the middle is live once; then a server is killed, then all goes back."""
    first = _deploy(store, reached, tiny_verdict(store, day="2002-09-25", work=WORK))
    verdict = tiny_verdict(store, OTHER, work=WORK)
    with balanced(tmp_path, processes) as url, steady_calls(url, TEXTS) as calls:
        controller = start_controller(storage_settings, reached, verdict, SPEC)
        while DeployLog(store, RECIPE).last.get("share") != 0.5:
            assert controller.poll() is None
            time.sleep(0.05)
        controller.kill()
        controller.wait()
        second = _deploy(store, reached, verdict)
        back = _killed_and_back(processes[0])
        time.sleep(1.5)
        back.join()
        switch_back(reached, request="wish", by="Ada")
        before, _ = calls.by(first.version), time.sleep(1)
        after = calls.by(first.version)

    assert calls.failed == 0, calls.answers
    assert calls.by(second.version) > 50 and after > before
    actions = [step["action"] for step in deploy_steps(store, RECIPE)]
    assert actions.count("live") == 2 and actions.count("staged") == 2


def test_a_server_killed_in_the_middle_of_a_release_costs_no_request_and_no_release(
    tmp_path: Path, store: Store, processes: list[ServerProcess], reached: list[Server]
) -> None:
    """While the candidate answers half: the release waits for the server, which comes back with its part of it."""
    first = _deploy(store, reached, tiny_verdict(store, day="2002-09-25", work=WORK))
    verdict = tiny_verdict(store, OTHER, work=WORK)
    with balanced(tmp_path, processes) as url, steady_calls(url, TEXTS) as calls, ThreadPoolExecutor(1) as beside:
        release = beside.submit(_deploy, store, reached, verdict)
        while DeployLog(store, RECIPE).last.get("share") != 0.5:
            assert not release.done(), release.result()
            time.sleep(0.05)
        back = _killed_and_back(processes[0])
        second = release.result(120)
        back.join()
        serving = [server.serving() for server in reached]

    assert calls.failed == 0, calls.answers
    assert [(one.current, one.former) for one in serving] == [(second.version, first.version)] * 2
    assert [step["action"] for step in deploy_steps(store, RECIPE)].count("live") == 2


@pytest.mark.parametrize(
    ("votes", "work", "reason"),
    [
        (BREAKS_ON_POISON, WORK, "it fails on"),
        (OTHER, 4 * WORK, "it is slow on"),
        (SWAPPED, WORK, "golden requests otherwise than its evaluation"),
    ],
    ids=["v2: 3 % errors", "v3: four times slower", "v4: worse on the golden set"],
)
def test_a_bad_release_comes_back_by_itself_with_its_reason(
    votes: tuple[tuple[float, float], ...], work: int, reason: str, tmp_path: Path, store: Store,
    processes: list[ServerProcess], reached: list[Server],
) -> None:  # fmt: skip
    """It is withdrawn under load, why is on record, and every request has its answer: the live version's."""
    live = _deploy(store, reached, tiny_verdict(store, day="2002-09-25", work=WORK))
    bad = tiny_verdict(store, votes, work=work)
    with balanced(tmp_path, processes) as url, steady_calls(url, TEXTS) as calls:
        with pytest.raises(HealthCheckFailed, match=reason):
            _deploy(store, reached, bad)
        serving = {server.serving().current for server in reached}

    assert (serving, calls.failed) == ({live.version}, 0)
    last = DeployLog(store, RECIPE).last
    assert last["action"] == "withdrawn" and reason in last["reason"]
