"""Going back by hand: on the servers first, and on record when the store is there."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from operators.core.deployment.client import Server, Serving, bring
from operators.core.deployment.deploy import Deployed, deploy
from operators.core.deployment.releases import DeployLog, ReleaseLine, Wanted, deploy_steps, make_release
from operators.core.deployment.roll_back import note_rollback, roll_back, switch_back
from operators.core.deployment.spec import DeploymentSpec
from operators.core.errors import DataError, DeploymentError, Overtaken, StorageError
from operators.core.storage import Store
from tests.core.deployment.conftest import TOKEN, ServerThread
from tests.core.deployment.tiny import RECIPE, tiny_verdict
from tests.core.signers import TRUSTED

pytestmark = pytest.mark.integration

SPEC = DeploymentSpec(shares=(1.0,), watch_seconds=0.0, min_sample=20, tolerated_errors=0.3, max_slowdown=8.0)
SHIFTED = ((0.0, 0.0), (0.2, 0.0), (5.0, 0.0), (0.0, 5.0), (0.0, 1.0))
THIRD = ((0.0, 0.0), (0.3, 0.0), (6.0, 0.0), (0.0, 6.0), (0.0, 1.0))


def _deploy(store: Store, servers: list[Server], verdict: str, **more: bool) -> Deployed:
    return deploy(store, servers, recipe=RECIPE, verdict=verdict, trusted=TRUSTED, spec=SPEC, **more)


@pytest.fixture
def two(store: Store, controlled: list[Server]) -> list[Deployed]:
    """Two releases, the second live and the first resident; the second was not watched on its way."""
    first = _deploy(store, controlled, tiny_verdict(store, day="2002-09-25"))
    verdict = tiny_verdict(store, SHIFTED)
    ReleaseLine(store, RECIPE).append(make_release(store, Wanted.read(store, RECIPE, verdict, TRUSTED)).digest)
    return [first, _deploy(store, controlled, verdict)]


def _lose(tmp_path: Path) -> None:
    for site in ("site_a", "site_b", "site_c"):
        (tmp_path / site).rename(tmp_path / f"{site}-away")


def _find(tmp_path: Path) -> None:
    for site in ("site_a", "site_b", "site_c"):
        shutil.rmtree(tmp_path / site, ignore_errors=True)
        (tmp_path / f"{site}-away").rename(tmp_path / site)


def test_with_the_store_gone_it_takes_seconds_and_is_noted_later(
    tmp_path: Path, store: Store, controlled: list[Server], two: list[Deployed]
) -> None:
    """No endpoint left: every server answers with the former release; the next deploy notes it and does not undo it."""
    _lose(tmp_path)
    begun = time.monotonic()
    with pytest.raises(StorageError):
        roll_back(store, controlled, recipe=RECIPE, request="wish", by="Ada")
    took = time.monotonic() - begun
    _find(tmp_path)

    assert [two[0].version] * 2 == [server.serving().current for server in controlled]
    assert took < 5
    assert _deploy(store, controlled, tiny_verdict(store, SHIFTED)).version == two[0].version
    last = DeployLog(store, RECIPE).last
    assert (last["action"], last["by"], last["version"]) == ("rolled_back_to", "Ada", two[0].version)
    assert store.stream(f"release-{RECIPE}").entries()[-1].manifest == two[0].release


def test_a_controller_that_does_not_know_of_it_is_refused(controlled: list[Server], two: list[Deployed]) -> None:
    """A server that went back by hand takes no traffic from who has not noted that, however new its step is."""
    switch_back(controlled, request="wish", by="Ada")

    with pytest.raises(Overtaken, match="Ada rolled back to"):
        bring(controlled[0], Serving(releases={two[1].version: two[1].release}, current=two[1].version, order=999))


def test_while_a_candidate_answers_it_is_the_candidate_that_goes(
    store: Store, controlled: list[Server], two: list[Deployed]
) -> None:
    """What is live stays live; the candidate is withdrawn on record, and comes back only by name."""
    verdict = tiny_verdict(store, THIRD, day="2002-09-27")
    third = make_release(store, Wanted.read(store, RECIPE, verdict, TRUSTED))
    log = DeployLog(store, RECIPE)
    log.note("share", third, share=0.1)
    releases = {two[1].version: two[1].release, third.version: third.digest}
    for server in controlled:
        wanted = Serving(releases=releases, current=two[1].version, candidate=third.version, share=0.1, order=log.order)
        bring(server, wanted)
    roll_back(store, controlled, recipe=RECIPE, request="wish", by="Ada")

    last = deploy_steps(store, RECIPE)[-1]
    assert (last["action"], last["version"]) == ("withdrawn", third.version)
    assert "Ada took it back" in last["reason"]
    assert _deploy(store, controlled, verdict).version == two[1].version
    assert _deploy(store, controlled, verdict, by_name=True).version == third.version


def test_a_server_that_is_away_keeps_no_other_waiting(controlled: list[Server], two: list[Deployed]) -> None:
    """The others answer with the former release at once, the command says which does not, and a retry finishes."""
    away = Server("http://127.0.0.1:9", RECIPE, TOKEN, timeout_seconds=1)

    with pytest.raises(DeploymentError, match=r"answers, but not everywhere: .*127\.0\.0\.1:9"):
        switch_back([away, *controlled], request="wish", by="Ada")
    away.close()
    assert [two[0].version] * 2 == [server.serving().current for server in controlled]
    assert switch_back(controlled, request="wish", by="Ada")["to_version"] == two[0].version


def test_one_wish_is_granted_once(store: Store, controlled: list[Server], two: list[Deployed]) -> None:
    """Tried again before and after it is on record it changes nothing; another wish goes forth again."""
    for _ in range(2):
        switch_back(controlled, request="wish", by="Ada")
        note_rollback(store, controlled, RECIPE)

    assert [two[0].version] * 2 == [server.serving().current for server in controlled]
    roll_back(store, controlled, recipe=RECIPE, request="another wish")
    assert [two[1].version] * 2 == [server.serving().current for server in controlled]


@pytest.mark.parametrize("noted", ["roll_back", "line", "rolled_back_to"])
def test_killed_while_it_is_noted_it_is_noted_once(
    noted: str, store: Store, controlled: list[Server], two: list[Deployed]
) -> None:
    """Whatever of the record was written when the controller was killed, the next one writes the rest."""
    hand = switch_back(controlled, request="wish", by="Ada")
    target = make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store, day="2002-09-25"), TRUSTED))
    left = make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store, SHIFTED), TRUSTED))
    wish = {"request": hand["request"], "left_model": left.model, "by": "Ada", "done_at": hand["at"]}
    stream = store.stream(f"release-{RECIPE}")
    log = DeployLog(store, RECIPE)
    log.note("roll_back", target, **wish)
    if noted != "roll_back":
        stream.append(target.digest, stream.head())
    if noted == "rolled_back_to":
        log.note("rolled_back_to", target, **wish)
    note_rollback(store, controlled, RECIPE)
    note_rollback(store, controlled, RECIPE)

    assert [step["action"] for step in deploy_steps(store, RECIPE)][-2:] == ["roll_back", "rolled_back_to"]
    assert [entry.manifest for entry in stream.entries()] == [two[0].release, two[1].release, two[0].release]


def test_with_nothing_before_it_says_so(store: Store, controlled: list[Server]) -> None:
    """The first release has none to go back to."""
    _deploy(store, controlled, tiny_verdict(store))

    with pytest.raises(DataError, match="none but this one was ever live"):
        switch_back(controlled, request="wish", by="Ada")


def test_a_record_survives_a_restart(
    servers: list[ServerThread], controlled: list[Server], two: list[Deployed]
) -> None:
    """A server that is started again still refuses who has not noted the rollback."""
    switch_back(controlled, request="wish", by="Ada")
    versions = servers[0].versions
    versions.traffic = replace(versions.traffic, by_hand=None, order=0)
    versions.restore()

    assert versions.traffic.by_hand is not None
    assert (versions.traffic.current, versions.traffic.by_hand["by"]) == (two[0].version, "Ada")
