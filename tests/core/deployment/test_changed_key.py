"""The signing key is another one: what is live stays live, comes under the new key's word, and can be given up."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.core.deployment.client import Server
from operators.core.deployment.deploy import deploy
from operators.core.deployment.releases import deploy_steps
from operators.core.deployment.roll_back import Deployed, roll_back
from operators.core.deployment.spec import DeploymentSpec
from operators.core.errors import DeploymentError, SignatureRefused
from operators.core.settings import StorageSettings
from operators.core.signing import Signer
from operators.core.storage import Store
from tests.core.deployment.conftest import ServerThread
from tests.core.deployment.tiny import GOOD, RECIPE, tiny_verdict
from tests.core.signers import SIGNER, STRANGER

pytestmark = pytest.mark.integration

SPEC = DeploymentSpec(shares=(0.5, 1.0), watch_seconds=0.2, min_sample=40, max_slowdown=3.0, server_timeout_seconds=5)
SHIFTED = ((0.0, 0.0), (0.2, 0.0), (5.0, 0.0), (0.0, 5.0), (0.0, 1.0))


class Bed:
    """Two servers that are started again whenever somebody changes the key."""

    def __init__(self, folder: Path, store: Store, settings: StorageSettings) -> None:
        self.store, self._folder, self._settings = store, folder, settings
        self.key = SIGNER
        self._start()

    def _start(self) -> None:
        self.running = [
            ServerThread(f"server-{n}", self._folder / f"server-{n}", self._settings, trusted=(self.key.public_key,))
            for n in (1, 2)
        ]
        self.servers: list[Server] = [one.controlled() for one in self.running]

    def change_key(self, to: Signer, *, empties: int = 0) -> None:
        """Have servers that trust another key, and of so many nothing left of what they held."""
        self.stop()
        for number in range(1, empties + 1):
            shutil.rmtree(self._folder / f"server-{number}")
        self.key = to
        self._start()

    def release(self, votes: tuple[tuple[float, float], ...] = GOOD, day: str = "2002-09-26") -> Deployed:
        """Have the gate judge a model, and deploy what it says."""
        verdict = tiny_verdict(self.store, votes, day=day, signer=self.key)
        return deploy(
            self.store, self.servers, recipe=RECIPE, verdict=verdict, trusted=(self.key.public_key,), spec=SPEC
        )

    def stop(self) -> None:
        """End the servers."""
        for one in self.servers:
            one.close()
        for thread in self.running:
            thread.stop()


@pytest.fixture
def bed(tmp_path: Path, store: Store, storage_settings: StorageSettings) -> Iterator[Bed]:
    """Servers and a store, nothing live."""
    made = Bed(tmp_path, store, storage_settings)
    yield made
    made.stop()


def test_what_is_live_comes_under_the_new_key_without_a_change_of_traffic(bed: Bed) -> None:
    """Gate and deploy once more: a new release of the same model, on every server, the emptied one included."""
    first = bed.release()
    bed.change_key(STRANGER, empties=1)
    second = bed.release()
    third = bed.release()

    assert (second.version, second.is_changed) == (first.version, True)
    assert second.release != first.release
    assert (third.release, third.is_changed, third.repaired) == (second.release, False, ())
    assert [one.serving().releases for one in bed.servers] == [{second.version: second.release}] * 2
    assert [step["action"] for step in deploy_steps(bed.store, RECIPE)][3:] == [
        "live",
        "staged",
        "prepared",
        "committed",
        "live",
    ]


def test_a_rollback_goes_past_the_same_model_under_the_former_key(bed: Bed) -> None:
    """To the model before, which the servers hold whoever signed it."""
    before = bed.release(SHIFTED, day="2002-09-25")
    bed.release()
    bed.change_key(STRANGER)
    bed.release()
    back = roll_back(bed.store, bed.servers, recipe=RECIPE, request="wish")

    assert (back.release, back.version) == (before.release, before.version)
    assert [one.serving().current for one in bed.servers] == [before.version] * 2


def test_an_emptied_server_goes_without_a_former_release_that_nobody_trusts(bed: Bed) -> None:
    """It serves what is live; the other one keeps what it can go back to."""
    before = bed.release(SHIFTED, day="2002-09-25")
    bed.release()
    bed.change_key(STRANGER, empties=1)
    live = bed.release()

    found = [one.serving() for one in bed.servers]
    assert [(one.current, one.former) for one in found] == [(live.version, None), (live.version, before.version)]
    assert bed.release().repaired == ()


def test_a_rollback_that_an_emptied_server_cannot_follow_is_mended_by_the_gate(bed: Bed) -> None:
    """It goes on with what it has, and the command says so; the gate's word on what is live again brings it along."""
    before = bed.release(SHIFTED, day="2002-09-25")
    bed.release()
    bed.change_key(STRANGER, empties=1)
    left = bed.release()
    with pytest.raises(DeploymentError, match="answers, but not everywhere"):
        roll_back(bed.store, bed.servers, recipe=RECIPE, request="wish")
    halfway = [one.serving().current for one in bed.servers]
    mended = bed.release(SHIFTED, day="2002-09-25")

    assert halfway == [left.version, before.version]
    assert (mended.version, mended.is_changed) == (before.version, True)
    assert [(one.current, one.former) for one in (server.serving() for server in bed.servers)] == [
        (before.version, left.version)
    ] * 2


def test_the_former_verdict_is_refused_and_what_is_live_stays(bed: Bed) -> None:
    """Without the gate's new word a cleared task of deploy says what to do, and touches nothing."""
    first = bed.release()
    bed.change_key(STRANGER)
    old = tiny_verdict(bed.store, signer=SIGNER)

    with pytest.raises(SignatureRefused, match="after a change of keys run the gate again"):
        deploy(bed.store, bed.servers, recipe=RECIPE, verdict=old, trusted=(STRANGER.public_key,), spec=SPEC)
    assert [one.serving().current for one in bed.servers] == [first.version] * 2
