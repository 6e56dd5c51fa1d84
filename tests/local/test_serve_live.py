"""Model servers that lost everything answer again as soon as the platform is up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.core.deployment.client import Serving, bring
from operators.core.deployment.releases import DeployLog, Wanted, make_release
from operators.core.settings import ServingSettings, StorageSettings
from operators.core.storage import Store
from operators.local.serve_live import serve_live
from tests.core.deployment.conftest import TOKEN, ServerThread
from tests.core.deployment.tiny import GOOD, INVERTED, RECIPE, tiny_verdict
from tests.core.recovery.conftest import append
from tests.core.signers import TRUSTED

pytestmark = pytest.mark.integration


@pytest.fixture
def threads(tmp_path: Path, storage_settings: StorageSettings, store: Store) -> Iterator[list[ServerThread]]:
    """Two servers of one store that hold nothing."""
    with contextlib.ExitStack() as stack:
        running = [ServerThread(f"server-{n}", tmp_path / f"server-{n}", storage_settings) for n in (1, 2)]
        for one in running:
            stack.callback(one.stop)
        yield running


def settings_of(threads: list[ServerThread]) -> ServingSettings:
    """Return where they are."""
    return ServingSettings(servers=tuple(one.url for one in threads), balancer_url=threads[0].url, token=TOKEN)


def released(store: Store, votes: tuple[tuple[float, float], ...], day: str) -> tuple[str, str]:
    """Have a release on record as live, on no server; return its digest and version."""
    release = make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store, votes, day), TRUSTED))
    DeployLog(store, RECIPE).note("live", release)
    append(store, f"release-{RECIPE}", release.digest)
    return release.digest, release.version


def test_empty_servers_answer_with_what_is_live(
    storage_settings: StorageSettings, store: Store, threads: list[ServerThread]
) -> None:
    """All of them, at the order of the newest step; a second call finds nothing to do."""
    _, version = released(store, GOOD, "2002-09-26")

    assert serve_live(storage_settings, settings_of(threads), RECIPE) == version
    for one in threads:
        with contextlib.closing(one.controlled()) as server:
            now = server.serving()
            assert (now.current, now.order, server.infer("lottery", "1").label) == (version, 1, "spam")
    assert serve_live(storage_settings, settings_of(threads), RECIPE) is None


def test_servers_of_which_one_holds_something_are_left_to_the_controller(
    storage_settings: StorageSettings, store: Store, threads: list[ServerThread]
) -> None:
    """It may have been rolled back by hand, and two versions would answer beside each other."""
    former, version = released(store, GOOD, "2002-09-25")
    released(store, INVERTED, "2002-09-26")
    with contextlib.closing(threads[0].controlled()) as server:
        bring(server, Serving(releases={version: former}, current=version))

    assert serve_live(storage_settings, settings_of(threads), RECIPE) is None
    with contextlib.closing(threads[1].controlled()) as server:
        assert server.serving().releases == {}


def test_before_the_first_release_there_is_nothing_to_serve(
    storage_settings: StorageSettings, store: Store, threads: list[ServerThread]
) -> None:
    """A new platform's servers stay empty."""
    assert serve_live(storage_settings, settings_of(threads), RECIPE) is None
