"""The runbook's commands on a store that has the loss they are for, as a person types them."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from operators.cli import main
from operators.core.deployment.client import bring
from operators.core.deployment.releases import DeployLog, ReleaseLine, Wanted, make_release
from operators.core.recovery.drill import record_drill
from operators.core.recovery.spec import DrillSpec
from operators.core.settings import STORAGE_VARIABLE, ServingSettings, StorageSettings
from operators.core.storage import Store
from tests.core.deployment.conftest import TOKEN, ServerThread
from tests.core.deployment.tiny import GOOD, INVERTED, RECIPE, tiny_dataset, tiny_verdict
from tests.core.recovery.conftest import append
from tests.core.signers import TRUSTED
from tests.runbook import ON_A_STORE

pytestmark = pytest.mark.integration

WORDS = {
    "verify NAME": f"verify latest:release-{RECIPE}",
    "move NAME": "move site_b",
    "resync NAME": "resync site_c",
    "mail_triage": RECIPE,
    "RECIPE": RECIPE,
}
"""What the runbook's words stand for here."""
Type = Callable[[str], tuple[int, str]]


@pytest.fixture
def typed() -> set[str]:
    """What was typed so far."""
    return set()


@pytest.fixture
def type_in(
    typed: set[str],
    store: Store,
    storage_settings: StorageSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Type:
    """Type a command of the runbook; give its exit status and what it said."""
    monkeypatch.setenv(STORAGE_VARIABLE, storage_settings.to_json())

    def call(command: str) -> tuple[int, str]:
        assert command in ON_A_STORE
        typed.add(command)
        line = command
        for word, meant in WORDS.items():
            line = line.replace(word, meant)
        capsys.readouterr()
        status = main(shlex.split(line)[1:])
        told = capsys.readouterr()
        return status, told.out + told.err

    return call


@pytest.fixture
def servers(
    store: Store, storage_settings: StorageSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[ServerThread]]:
    """Two model servers that answer by the second of two releases."""
    for votes, day in ((GOOD, "2002-09-25"), (INVERTED, "2002-09-26")):
        release = make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store, votes, day), TRUSTED))
        append(store, f"release-{RECIPE}", release.digest)
        DeployLog(store, RECIPE).note("live", release)
    append(store, f"dataset-{RECIPE}", tiny_dataset(store, "2002-09-26"))
    with contextlib.ExitStack() as stack:
        running = [ServerThread(f"server-{n}", tmp_path / f"server-{n}", storage_settings) for n in (1, 2)]
        for one in running:
            stack.callback(one.stop)
            with contextlib.closing(one.controlled()) as server:
                bring(server, ReleaseLine(store, RECIPE).serving())
        urls = tuple(one.url for one in running)
        settings = ServingSettings(servers=urls, balancer_url=urls[0], token=TOKEN)
        monkeypatch.setattr("operators.cli.releasing.serving_settings", lambda: settings)
        yield running


def folder_of(settings: StorageSettings, name: str) -> Path:
    """Return where an endpoint lies."""
    return Path(next(item.url for item in settings.endpoints if item.name == name).removeprefix("file://"))


def test_each_command_does_what_the_runbook_says(
    type_in: Type, typed: set[str], servers: list[ServerThread], store: Store, storage_settings: StorageSettings
) -> None:
    """In the order of its parts: a wiped endpoint, a damaged copy, a full store, a bad release, a drill that is red."""
    assert "site_a" in type_in("nightshift primary")[1]
    assert type_in("nightshift primary move NAME")[0] == 0
    assert "site_b" in type_in("nightshift primary")[1]
    wiped = folder_of(storage_settings, "site_c")
    shutil.rmtree(wiped)
    wiped.mkdir()
    assert type_in("nightshift scrub")[0] == 1
    assert type_in("nightshift resync NAME")[0] == 0
    assert type_in("nightshift resync NAME --anew")[0] == 0

    store.put_bytes("orphan", b"nobody needs this")
    victim = next(folder_of(storage_settings, "site_a").rglob("obj/*/*"))
    victim.write_bytes(b"rotten")
    assert type_in("nightshift verify NAME")[0] == 0  # the next copy is good
    status, told = type_in("nightshift scrub --all")
    assert status == 0 and " mended" in told and "1 damaged" in told
    assert type_in("nightshift scrub --all")[1].count("nothing wrong") == 1
    for command in ("nightshift verify latest:release-mail_triage", "nightshift verify latest:dataset-mail_triage"):
        assert type_in(command)[0] == 0

    assert type_in("nightshift gc")[0] == 0
    assert type_in("nightshift gc --apply")[0] == 0
    assert "nothing wrong" in type_in("nightshift scrub")[1]

    assert type_in("nightshift releases RECIPE")[0] == 0
    status, told = type_in("nightshift rollback mail_triage")
    assert status == 0 and "live again on 2 servers" in told
    assert "rolled back to" in type_in("nightshift releases mail_triage")[1]
    with contextlib.closing(servers[0].controlled()) as server:
        assert server.infer("lottery", "1").label == "spam"

    assert type_in("nightshift audit")[0] == 0

    facts = {"rpo_seconds": 9.0, "rto_seconds": 20.0, "verified_bytes": 10**9}
    for rto in (20.0, 20.0, 50.0):
        record_drill(store, {**facts, "rto_seconds": rto}, DrillSpec())
    status, told = type_in("nightshift drill --history 10")
    assert status == 0 and "the last RTO is 2.50 times the median of the 2 before it" in told
    record_drill(store, facts, DrillSpec(rto_target_seconds=1))
    assert type_in("nightshift drill --history 10")[0] == 1
    assert "nightshift_" in type_in("nightshift metrics")[1]

    assert typed == ON_A_STORE
