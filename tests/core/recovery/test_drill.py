"""A drill measures a recovery from a backup and a kit, and says what it found, the bad too."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from operators.core.deployment.client import Serving, bring
from operators.core.deployment.releases import Wanted
from operators.core.deployment.releases import make_release as make_live
from operators.core.errors import AllCopiesDamaged, KeyMissing, StorageError
from operators.core.recovery.drill import STREAM, record_drill, rehearse
from operators.core.recovery.inventory import INVENTORY_FILE
from operators.core.recovery.kit import RecoveryKit
from operators.core.recovery.spec import DrillSpec
from operators.core.settings import EndpointSettings, ServingSettings, StorageSettings
from operators.core.storage import Store, open_store
from operators.drill import drill
from tests.core.deployment.conftest import TOKEN, ServerThread
from tests.core.deployment.tiny import GOOD, INVERTED, RECIPE, tiny_verdict
from tests.core.recovery.conftest import SIGNER, Save, append, make_release
from tests.core.recovery.test_platform_restore import state_of
from tests.core.recovery.test_recovery import files_of
from tests.core.signers import TRUSTED

FACTS = {"rpo_seconds": 10.0, "rto_seconds": 20.0, "compared_predictions": 3, "different_predictions": 0, "dangling": 0}


@pytest.fixture
def kit(backup: Store) -> RecoveryKit:
    """A kit for the backup store in its folder."""
    (endpoint,) = backup.membership.endpoints.values()
    where = EndpointSettings(name=endpoint.name, url=endpoint.folder.as_uri())  # type: ignore[attr-defined]
    return RecoveryKit.new(StorageSettings(endpoints=(where,), acknowledge=1), [SIGNER.public_key, *TRUSTED])


def test_a_rehearsal_gives_the_store_of_the_cut(store: Store, save: Save, kit: RecoveryKit, tmp_path: Path) -> None:
    """In folders of its own, by the kit alone; the facts say how old it is and how much was read back."""
    make_release(store, "2002-09-01", b"one")
    expected = state_of(store)
    save(recipients={"keeper": kit.public_key})
    with rehearse(kit, tmp_path / "place", store.membership.clock() + 100) as rehearsal:
        place = open_store(rehearsal.settings)

        assert expected == state_of(place)
        assert 100 <= rehearsal.facts["rpo_seconds"] < 160
        assert rehearsal.facts["verified_objects"] == 9


def test_a_backup_that_cannot_come_back_is_no_drill_passed(
    store: Store, backup: Store, save: Save, kit: RecoveryKit, tmp_path: Path
) -> None:
    """A damaged piece, or a kit of somebody else: the error says which."""
    make_release(store, "2002-09-01", b"one")
    done = save(recipients={"keeper": kit.public_key})
    with pytest.raises(KeyMissing), rehearse(RecoveryKit.new(kit.backup, kit.trusted), tmp_path / "a", 0.0):
        pass
    name = done.manifest.file(INVENTORY_FILE).stored_sha256
    (path,) = (path for path in files_of(backup) if path.name == name)
    path.write_bytes(b"rotten")
    with pytest.raises(AllCopiesDamaged, match=name), rehearse(kit, tmp_path / "b", 0.0):
        pass


def test_a_drill_does_not_fill_the_disk_that_production_is_on(
    store: Store, save: Save, kit: RecoveryKit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three copies take their room: where it is not there, both figures are told and nothing was written."""
    make_release(store, "2002-09-01", b"one" * 1000)
    save(recipients={"keeper": kit.public_key})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))

    with pytest.raises(StorageError, match="1,000 are free"), rehearse(kit, tmp_path / "place", 0.0):
        pass
    assert not (tmp_path / "place").exists()


@pytest.mark.parametrize(
    ("facts", "missed"),
    [
        (FACTS, []),
        ({**FACTS, "rpo_seconds": 101.0}, ["RPO 101 s, 100 s is the target"]),
        ({**FACTS, "rto_seconds": 51.0}, ["RTO 51 s, 50 s is the target"]),
        ({**FACTS, "different_predictions": 1}, ["1 of 3 predictions differ"]),
        ({**FACTS, "dangling": 2}, ["2 tasks of Airflow's database name what the store does not hold"]),
        ({"error": "KeyMissing: no"}, ["KeyMissing: no"]),
    ],
)
def test_each_target_is_told(store: Store, facts: dict[str, object], missed: list[str]) -> None:
    """By name and with both figures; the record in the stream says the same."""
    spec = DrillSpec(rpo_target_seconds=100, rto_target_seconds=50)
    record = record_drill(store, facts, spec)
    head = store.stream(STREAM).head()

    assert (record.facts["missed"], record.facts["targets_met"]) == (missed, not missed)
    assert head is not None and store.manifest(head.manifest) == record
    assert {**record.facts, **facts} == record.facts


def test_targets_are_positive() -> None:
    """Nothing is recovered in no time."""
    with pytest.raises(ValueError, match="positive"):
        DrillSpec(rto_target_seconds=0)


def go_live(store: Store, votes: Sequence[Sequence[float]], day: str) -> str:
    """Make a judged model the live release, with no server, and return the release's digest."""
    wanted = Wanted.read(store, RECIPE, tiny_verdict(store, votes, day), TRUSTED)
    digest = make_live(store, wanted).digest
    append(store, f"release-{RECIPE}", digest)
    return digest


@pytest.mark.integration
@pytest.mark.parametrize("production", ["the same", "a later release"])
def test_a_drill_asks_the_restored_model_and_production(
    storage_settings: StorageSettings, store: Store, save: Save, kit: RecoveryKit, tmp_path: Path, production: str
) -> None:
    """The same release there and in production answers the same; one that production has left is not compared."""
    release = go_live(store, GOOD, "2002-09-26")
    save(recipients={"keeper": kit.public_key})
    live = release if production == "the same" else go_live(store, INVERTED, "2002-09-27")
    version = str(store.manifest(live).facts["version"])
    thread = ServerThread("server-1", tmp_path / "production", storage_settings)
    try:
        with contextlib.closing(thread.controlled()) as server:
            bring(server, Serving(releases={version: live}, current=version))
        record = drill(
            store,
            kit,
            tmp_path / "drill",
            DrillSpec(),
            recipes=[SimpleNamespace(name=RECIPE, examples=("meeting", "lottery"))],  # type: ignore[list-item]
            serving=ServingSettings(servers=(thread.url,), balancer_url=thread.url, token=TOKEN),
        )
    finally:
        thread.stop()

    assert record.facts["compared_predictions"] == (2 if production == "the same" else 0)
    assert (record.facts["different_predictions"], record.facts["targets_met"]) == (0, True)
    assert record.facts["rto_seconds"] > 0


@pytest.mark.integration
def test_an_answer_that_production_does_not_give_is_told(
    store: Store, save: Save, kit: RecoveryKit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The restored model says ham to one text where production says spam: no target met."""
    go_live(store, GOOD, "2002-09-26")
    save(recipients={"keeper": kit.public_key})
    monkeypatch.setattr("operators.drill._production", lambda *_: ["spam", "spam"])
    recipe = SimpleNamespace(name=RECIPE, examples=("meeting", "lottery"))
    serving = ServingSettings(servers=("http://127.0.0.1:1",), balancer_url="http://127.0.0.1:1", token=TOKEN)
    record = drill(store, kit, tmp_path / "drill", DrillSpec(), recipes=[recipe], serving=serving)  # type: ignore[list-item]

    assert record.facts["missed"] == ["1 of 2 predictions differ"]


def test_a_drill_that_comes_to_nothing_is_on_record(store: Store, kit: RecoveryKit, tmp_path: Path) -> None:
    """There is no backup: the record says so, and that no target is met."""
    serving = ServingSettings(servers=("http://127.0.0.1:1",), balancer_url="http://127.0.0.1:1", token=TOKEN)
    record = drill(store, kit, tmp_path / "drill", DrillSpec(), recipes=[], serving=serving)

    assert record.facts["targets_met"] is False
    assert "the backup store holds none" in record.facts["error"]
