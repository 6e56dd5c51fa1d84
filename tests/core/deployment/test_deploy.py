"""The deploy and rollback controllers against real servers."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from dataclasses import replace

import httpx
import pytest

from operators.core.deployment.client import Server, Serving, bring
from operators.core.deployment.deploy import Deployed, deploy
from operators.core.deployment.releases import DeployLog, ReleaseLine, Wanted, make_release
from operators.core.deployment.roll_back import roll_back
from operators.core.deployment.server.traffic import position
from operators.core.deployment.spec import DeploymentSpec
from operators.core.errors import DataError, DeploymentError, GateFailed, HealthCheckFailed
from operators.core.storage import Store
from tests.core.deployment.conftest import ServerThread
from tests.core.deployment.tiny import BREAKS_ON_POISON, GOOD, INVERTED, RECIPE, tiny_verdict
from tests.core.signers import TRUSTED

pytestmark = pytest.mark.integration

SPEC = DeploymentSpec(
    shares=(0.5, 1.0),
    watch_seconds=0.2,
    min_sample=40,
    tolerated_errors=0.1,
    server_timeout_seconds=5,
    max_slowdown=3.0,
)
SHIFTED = ((0.0, 0.0), (0.2, 0.0), (5.0, 0.0), (0.0, 5.0), (0.0, 1.0))


def _deploy(store: Store, servers: list[Server], verdict: str, spec: DeploymentSpec = SPEC, **more: bool) -> Deployed:
    return deploy(store, servers, recipe=RECIPE, verdict=verdict, trusted=TRUSTED, spec=spec, **more)


def _ask(
    url: str, text: str = "lottery", request_id: str = "1", client: httpx.Client | None = None
) -> dict[str, object]:
    body = {"id": request_id, "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}]}
    response = (client or httpx).post(f"{url}/v2/models/{RECIPE}/infer", json=body)
    assert response.status_code == 200, response.text
    document: dict[str, object] = response.json()
    return document


def test_first_deployment_serves_everywhere(
    store: Store, servers: list[ServerThread], controlled: list[Server]
) -> None:
    """After a deployment every server answers with the version that the release stream names."""
    done = _deploy(store, controlled, tiny_verdict(store))

    head = store.stream(f"release-{RECIPE}").head()
    assert head is not None and head.manifest == done.release
    assert [done.version] * 2 == [_ask(one.url)["model_version"] for one in servers]


def test_second_deployment_finds_nothing_to_do(store: Store, controlled: list[Server]) -> None:
    """Deploying what is live changes neither the stream nor a server."""
    first = _deploy(store, controlled, tiny_verdict(store))
    second = _deploy(store, controlled, tiny_verdict(store))

    assert (first.release, False, ()) == (second.release, second.is_changed, second.repaired)
    assert len(store.stream(f"release-{RECIPE}").entries()) == 1


def test_an_emptied_server_gets_the_live_release_again(
    store: Store, servers: list[ServerThread], controlled: list[Server]
) -> None:
    """A server that holds nothing serves the live version after a deployment that finds nothing else to do."""
    done = _deploy(store, controlled[:1], tiny_verdict(store))
    again = _deploy(store, controlled, tiny_verdict(store))

    assert (False, (servers[1].url,)) == (again.is_changed, again.repaired)
    assert done.version == _ask(servers[1].url)["model_version"]


def test_a_new_release_replaces_the_live_one_and_keeps_it_resident(store: Store, controlled: list[Server]) -> None:
    """After a second release the first one is the former one, still resident on each server."""
    first = _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    second = _deploy(store, controlled, tiny_verdict(store, SHIFTED))

    expected = (second.version, first.version, None, 0.0)
    for server in controlled:
        now = server.serving()
        assert expected == (now.current, now.former, now.candidate, now.share)


def test_rollback_makes_the_former_release_live_as_a_new_entry(store: Store, controlled: list[Server]) -> None:
    """A rollback appends the former release and every server switches; the same wish tried again changes nothing."""
    first = _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    _deploy(store, controlled, tiny_verdict(store, SHIFTED))
    back = roll_back(store, controlled, recipe=RECIPE, request="run-1")
    again = roll_back(store, controlled, recipe=RECIPE, request="run-1")

    assert (first.release, first.release) == (back.release, again.release)
    assert first.release == store.stream(f"release-{RECIPE}").entries()[2].manifest
    assert len(store.stream(f"release-{RECIPE}").entries()) == 3
    assert [first.version] * 2 == [server.serving().current for server in controlled]


def test_what_was_rolled_back_comes_back_only_by_name(store: Store, controlled: list[Server]) -> None:
    """A re-run does not undo a person's rollback; asking by name does."""
    verdict = tiny_verdict(store, SHIFTED)
    first = _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    _deploy(store, controlled, verdict)
    roll_back(store, controlled, recipe=RECIPE, request="run-1")

    assert first.version == _deploy(store, controlled, verdict).version
    assert _deploy(store, controlled, verdict, by_name=True).is_changed


def test_rollback_needs_a_former_release(store: Store, controlled: list[Server]) -> None:
    """With a single release there is nothing to go back to, and the message says so."""
    _deploy(store, controlled, tiny_verdict(store))

    with pytest.raises(DataError, match="no former release to go back to: none but this one"):
        roll_back(store, controlled, recipe=RECIPE, request="run-1")


def test_an_older_day_stays_back_unless_asked_by_name(store: Store, controlled: list[Server]) -> None:
    """What is live from a later day stays live when an older day is run again, but yields to a person's wish."""
    live = _deploy(store, controlled, tiny_verdict(store))
    older = tiny_verdict(store, SHIFTED, day="2002-09-20")

    assert live.release == _deploy(store, controlled, older).release
    assert _deploy(store, controlled, older, by_name=True).is_changed


def test_a_failed_verdict_is_refused(store: Store, controlled: list[Server]) -> None:
    """What the gate did not pass is not deployed."""
    with pytest.raises(GateFailed, match="no verdict that lets"):
        _deploy(store, controlled, tiny_verdict(store, verdict="failed"))


def test_a_failing_candidate_is_rolled_back_and_no_caller_notices(
    store: Store, servers: list[ServerThread], controlled: list[Server]
) -> None:
    """A candidate that breaks on real requests goes back by itself while every request of a load is answered."""
    live = _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    versions: Counter[object] = Counter()
    over = threading.Event()

    def call() -> None:
        with httpx.Client() as client:
            for number in range(20_000):
                if over.is_set():
                    return
                answer = _ask(servers[number % 2].url, "poison lottery", f"load-{number}", client)
                versions[answer["model_version"]] += 1

    load = threading.Thread(target=call)
    load.start()
    try:
        with pytest.raises(HealthCheckFailed, match="it fails on"):
            _deploy(store, controlled, tiny_verdict(store, BREAKS_ON_POISON))
    finally:
        over.set()
        load.join()

    assert {live.version} == set(versions) and versions[live.version] > 10
    assert [(live.version, None)] * 2 == [(one.serving().current, one.serving().candidate) for one in controlled]
    assert DeployLog(store, RECIPE).last["action"] == "withdrawn"
    assert len(store.stream(f"release-{RECIPE}").entries()) == 1


def test_a_candidate_that_answers_otherwise_than_evaluated_is_refused(store: Store, controlled: list[Server]) -> None:
    """Golden requests catch a model whose answers are not those that were judged."""
    live = _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    wrong = tuple((spam, ham + 1) for ham, spam in GOOD)

    with pytest.raises(HealthCheckFailed, match="golden"):
        _deploy(store, controlled, tiny_verdict(store, wrong))

    assert [live.version] * 2 == [server.serving().current for server in controlled]


def test_a_slow_candidate_is_rolled_back(store: Store, controlled: list[Server]) -> None:
    """A 99th percentile above the absolute limit withdraws the candidate, whatever the live version's is."""
    _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    strict = replace(SPEC, shares=(1.0,), max_p99_seconds=1e-9)

    with pytest.raises(HealthCheckFailed, match="99th percentile"):
        _deploy(store, controlled, tiny_verdict(store, SHIFTED), strict)


def test_a_server_away_is_a_retryable_error_and_the_candidate_goes_back(store: Store, controlled: list[Server]) -> None:
    """When a server stays away the deployment ends retryable and the others serve what was live."""
    live = _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    away = [controlled[0], Server(f"http://127.0.0.1:{port}", RECIPE, "x", timeout_seconds=0.3)]

    with pytest.raises(DeploymentError, match="away") as caught:
        _deploy(store, away, tiny_verdict(store, SHIFTED))

    assert caught.value.retry_can_help
    assert (live.version, None) == (controlled[0].serving().current, controlled[0].serving().candidate)


def test_a_killed_controller_goes_on_at_the_share_it_reached(store: Store, controlled: list[Server]) -> None:
    """After a kill at the second step the next try starts with that step, not with the first."""
    _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    verdict = tiny_verdict(store, SHIFTED)
    release = make_release(store, Wanted.read(store, RECIPE, verdict, TRUSTED))
    DeployLog(store, RECIPE).note("share", release, share=1.0)
    before = store.stream(f"deploy-{RECIPE}").head()
    done = _deploy(store, controlled, verdict)

    steps = store.stream(f"deploy-{RECIPE}").entries()[before.generation + 1 :] if before else []
    assert [
        (facts["action"], facts.get("share")) for facts in (store.manifest(step.manifest).facts for step in steps)
    ] == [("share", 1.0), ("passed", 1.0), ("live", None)]
    assert done.is_changed


def test_a_controller_killed_after_the_commit_is_finished_by_the_next(store: Store, controlled: list[Server]) -> None:
    """When the stream names a release that the servers do not serve yet, the next deployment brings it to them."""
    _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    verdict = tiny_verdict(store, SHIFTED)
    release = make_release(store, Wanted.read(store, RECIPE, verdict, TRUSTED))
    ReleaseLine(store, RECIPE).append(release.digest)
    done = _deploy(store, controlled, verdict)

    assert (done.is_changed, len(done.repaired)) == (False, 2)
    assert [release.version] * 2 == [server.serving().current for server in controlled]


def test_the_split_is_by_request_id(store: Store, servers: list[ServerThread], controlled: list[Server]) -> None:
    """Each request goes where its id says, on every server alike, and the share is kept."""
    first = _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    second = make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store, INVERTED), TRUSTED))
    releases = {first.version: first.release, second.version: second.digest}
    for server in controlled:
        split = Serving(releases=releases, current=first.version, candidate=second.version, share=0.3, order=99)
        bring(server, split)
    ids = [f"request-{number}" for number in range(200)]
    with httpx.Client() as client:
        answered = [[_ask(one.url, "lottery", name, client)["model_version"] for name in ids] for one in servers]

    expected = [second.version if position(name) < 0.3 else first.version for name in ids]
    assert [expected, expected] == answered
    assert 0.2 < Counter(expected)[second.version] / len(ids) < 0.4
