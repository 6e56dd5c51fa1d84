"""The phases of a release against real servers: rehearsal, shadow, two controllers, one that is killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from operators.core.deployment.client import Server, Serving, bring
from operators.core.deployment.deploy import Deployed, deploy
from operators.core.deployment.releases import DeployLog, Wanted, deploy_steps, make_release
from operators.core.deployment.server.traffic import TWIN
from operators.core.deployment.spec import DeploymentSpec
from operators.core.errors import HealthCheckFailed, Overtaken
from operators.core.settings import StorageSettings
from operators.core.storage import Store
from tests.core.deployment.conftest import ServerThread
from tests.core.deployment.controllers import OVERTAKEN, start_controller
from tests.core.deployment.tiny import BREAKS_ON_POISON, INVERTED, RECIPE, tiny_verdict
from tests.core.signers import TRUSTED

pytestmark = pytest.mark.integration

SPEC = DeploymentSpec(
    shares=(0.5, 1.0),
    watch_seconds=0.0,
    min_sample=20,
    tolerated_errors=0.3,
    max_slowdown=8.0,
    server_timeout_seconds=5,
)
SHIFTED = ((0.0, 0.0), (0.2, 0.0), (5.0, 0.0), (0.0, 5.0), (0.0, 1.0))


def _deploy(store: Store, servers: list[Server], verdict: str, spec: DeploymentSpec = SPEC) -> Deployed:
    return deploy(store, servers, recipe=RECIPE, verdict=verdict, trusted=TRUSTED, spec=spec)


def _actions(store: Store) -> list[str]:
    return [str(step["action"]) for step in deploy_steps(store, RECIPE)]


@contextmanager
def _calls(servers: list[ServerThread], text: str = "lottery") -> Iterator[None]:
    """Have callers ask both servers while a block runs."""
    over = threading.Event()
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}

    def call() -> None:
        with httpx.Client() as client:
            number = 0
            while not over.is_set():
                number += 1
                url = f"{servers[number % 2].url}/v2/models/{RECIPE}/infer"
                assert client.post(url, json={"id": f"call-{number}", "inputs": [tensor]}).status_code == 200

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield
    finally:
        over.set()
        caller.join()


def test_phases_are_on_record_in_their_order(store: Store, controlled: list[Server]) -> None:
    """The second release is staged, prepared on every server and committed to before it answers its first share."""
    _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    before = len(_actions(store))
    _deploy(store, controlled, tiny_verdict(store, SHIFTED))

    assert _actions(store)[before:] == [
        "staged", "prepared", "committed", "share", "passed", "share", "passed", "live",
    ]  # fmt: skip
    passed = [step for step in deploy_steps(store, RECIPE) if step["action"] == "passed"]
    assert all(step["compared"]["own"]["candidate"]["asked"] >= 20 for step in passed)


def test_a_rehearsal_throws_out_a_twin_that_answers_wrongly(
    store: Store, servers: list[ServerThread], controlled: list[Server]
) -> None:
    """It reaches the first share, is thrown out for its golden answers, and the release goes on without it."""
    _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    done = _deploy(store, controlled, tiny_verdict(store, SHIFTED), replace(SPEC, rehearses_rollback=True))

    steps = {str(step["action"]): step for step in deploy_steps(store, RECIPE)}
    assert "golden requests otherwise" in steps["rehearsed"]["reason"]
    assert (steps["rehearsing"]["twin"], steps["rehearsing"]["twin_share"]) == (done.version + TWIN, 0.5)
    assert done.version == controlled[0].serving().current
    assert not any(name.endswith(TWIN) for one in servers for name in one.versions.traffic.releases)


def test_a_twin_can_never_be_more_than_a_candidate(store: Store, controlled: list[Server]) -> None:
    """No server makes it current or former, whoever asks."""
    live = _deploy(store, controlled, tiny_verdict(store))
    twin = live.version + TWIN
    for wanted in ({"current": twin}, {"current": live.version, "former": twin}):
        with pytest.raises(Overtaken, match="made to be thrown out"):
            bring(controlled[0], Serving(releases={twin: live.release}, order=99, **wanted))  # type: ignore[arg-type]


def test_a_rehearsal_that_throws_nothing_out_stops_the_release(
    store: Store, controlled: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a twin passes, as with a server that exchanges no labels, a bad release would pass, too."""
    live = _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    monkeypatch.setattr("operators.core.deployment.server.versions.is_twin", lambda _: False)

    with pytest.raises(HealthCheckFailed, match="the rehearsal failed"):
        _deploy(store, controlled, tiny_verdict(store, SHIFTED), replace(SPEC, rehearses_rollback=True))
    assert (_actions(store)[-1], live.version) == ("withdrawn", controlled[0].serving().current)


def test_in_shadow_a_candidate_answers_copies_and_nobody_is_given_its_answers(
    store: Store, servers: list[ServerThread], controlled: list[Server]
) -> None:
    """Copies are compared with what the live version answered; only then does the release answer callers."""
    _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    with _calls(servers):
        _deploy(store, controlled, tiny_verdict(store, SHIFTED), replace(SPEC, shadow_sample=30, step_seconds=20))

    compared = next(step["compared"] for step in deploy_steps(store, RECIPE) if "compared" in step)
    assert compared["copies"] >= 30
    assert compared["differing"] == 0


def test_a_candidate_that_disagrees_in_shadow_never_answers_anybody(
    store: Store, servers: list[ServerThread], controlled: list[Server]
) -> None:
    """One that was evaluated as it answers, but otherwise than what is live: no share, and the reason on record."""
    live = _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    with _calls(servers), pytest.raises(HealthCheckFailed, match=r"in shadow"):
        _deploy(store, controlled, tiny_verdict(store, INVERTED), replace(SPEC, shadow_sample=30, step_seconds=20))

    assert "share" not in _actions(store)
    assert "in shadow" in DeployLog(store, RECIPE).last["reason"]
    assert live.version == controlled[1].serving().current


def test_a_candidate_that_breaks_in_shadow_costs_no_caller_anything(
    store: Store, servers: list[ServerThread], controlled: list[Server]
) -> None:
    """Callers' texts that break it are answered by what is live, and the candidate is withdrawn."""
    _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    spec = replace(SPEC, shadow_sample=500, step_seconds=20)
    with _calls(servers, "poison"), pytest.raises(HealthCheckFailed, match="in shadow: it fails on"):
        _deploy(store, controlled, tiny_verdict(store, BREAKS_ON_POISON), spec)


def test_a_controller_that_was_overtaken_touches_nothing_more(store: Store, controlled: list[Server]) -> None:
    """Another controller's step is newer: the first one stops at the servers, and withdraws nothing."""
    first = _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    stale = controlled[0].serving()
    release = make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store, SHIFTED), TRUSTED))
    log = DeployLog(store, RECIPE)
    log.note("share", release, share=0.5)
    releases = {first.version: first.release, release.version: release.digest}
    split = Serving(releases=releases, current=first.version, candidate=release.version, share=0.5, order=log.order)
    bring(controlled[0], split)

    with pytest.raises(Overtaken, match="another controller has gone on"):
        bring(controlled[0], replace(stale, former=None))
    assert controlled[0].serving().share == 0.5


def test_two_deploys_of_two_processes_cannot_race(
    store: Store, storage_settings: StorageSettings, controlled: list[Server]
) -> None:
    """Whichever goes on, in the end one release is live on every server, each share was given once, none twice."""
    _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    verdicts = [tiny_verdict(store, SHIFTED), tiny_verdict(store, INVERTED, day="2002-09-27")]
    running = [start_controller(storage_settings, controlled, one, SPEC) for one in (*verdicts, verdicts[0])]
    statuses = [one.wait(120) for one in running]

    assert set(statuses) <= {0, OVERTAKEN, 1} and 0 in statuses
    last = _deploy(store, controlled, verdicts[1])
    assert [last.version] * 2 == [server.serving().current for server in controlled]
    assert {server.serving().candidate for server in controlled} == {None}
    entries = [entry.manifest for entry in store.stream(f"release-{RECIPE}").entries()]
    assert len(entries) == len(set(entries))


@pytest.mark.parametrize("phase", ["prepared", "share", "passed"])
def test_killed_in_any_phase_the_next_controller_reaches_the_end_once(
    phase: str, store: Store, storage_settings: StorageSettings, controlled: list[Server]
) -> None:
    """SIGKILL as soon as the phase is on record: the next try goes on, and the release is live exactly once."""
    _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    before, verdict = len(_actions(store)), tiny_verdict(store, SHIFTED)
    running = start_controller(storage_settings, controlled, verdict, SPEC)
    while phase not in _actions(store)[before:]:
        assert running.poll() is None
        time.sleep(0.02)
    running.kill()
    running.wait()
    done = _deploy(store, controlled, verdict)

    actions = _actions(store)[before:]
    assert [done.version] * 2 == [server.serving().current for server in controlled]
    assert actions.count("live") == 1 and "withdrawn" not in actions
    assert phase == "prepared" or actions.count("staged") == 1
    assert len(store.stream(f"release-{RECIPE}").entries()) == 2
