"""Backups keep what was erased: they are told of, and no restore brings it back unnoticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operators.core.erasure.erase import look_for_recorded
from operators.core.errors import AllCopiesDamaged
from operators.core.progress import no_progress
from operators.core.recovery.back_up import back_up
from operators.core.recovery.holding import backups_holding
from operators.core.recovery.inventory import Inventory
from operators.core.recovery.restore import restore_release
from operators.core.recovery.spec import BackUpSpec
from operators.core.settings import StorageSettings
from operators.core.storage import Store, open_store
from operators.core.storage.erasures import erased_rows, forgotten
from tests.core.erasure.nights import ADDRESS, RECIPE, make_dataset, night, place
from tests.core.erasure.steps import collect, forget, look, record, traces_in
from tests.core.mails import KEY
from tests.core.recovery.conftest import new_store

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
SPEC = BackUpSpec(recipe=RECIPE)


def erase(store: Store, settings: StorageSettings, backup: Store, landing: Path) -> Store:
    """Take every step of an erasure; return the store as it is afterwards."""
    found = look(store, landing, ADDRESS)
    record(store, backup, found)
    night(store, landing)
    forget(store, found)
    store.close()
    collect(settings)
    return open_store(settings)


def test_a_backup_of_before_is_named(
    store: Store, storage_settings: StorageSettings, backup: Store, landing: Path
) -> None:
    """It holds the row before and after the erasure; one that was made afterwards is not named."""
    old = back_up(store, backup, release=night(store, landing), spec=SPEC).digest
    named = look(store, landing, ADDRESS).lineage.objects
    assert [one.manifest for one in backups_holding(backup, named)] == [old]
    store = erase(store, storage_settings, backup, landing)
    back_up(store, backup, release=night(store, landing), spec=SPEC)
    still = look_for_recorded(store, [place(landing)], KEY, no_progress).lineage.objects

    assert [(one.manifest, one.recipe) for one in backups_holding(backup, still)] == [(old, RECIPE)]


def test_an_older_backup_comes_back_with_the_erasure_on_record(
    store: Store, storage_settings: StorageSettings, backup: Store, landing: Path, tmp_path: Path
) -> None:
    """The row is in what was restored, and said to be; the next run there leaves it out again."""
    old = back_up(store, backup, release=night(store, landing), spec=SPEC).digest
    rows = look(store, landing, ADDRESS).rows
    erase(store, storage_settings, backup, landing)
    target = new_store(tmp_path / "target", 3, 2)
    done = restore_release(backup, target, old)

    assert done.erased_rows == 1
    assert erased_rows(target) == rows
    held = look_for_recorded(target, [place(landing)], KEY, no_progress)
    assert set(held.lineage.live) == {RECIPE}
    assert make_dataset(target, landing).manifest.facts["rows"]["quarantined"] == {"erased": 1}


def test_a_backup_of_afterwards_is_whole_without_what_was_forgotten(
    store: Store, storage_settings: StorageSettings, backup: Store, landing: Path, tmp_path: Path
) -> None:
    """Into a new backup store goes no trace of the row; a restore from there is whole, and may be repeated."""
    night(store, landing)
    store = erase(store, storage_settings, backup, landing)
    fresh, target = new_store(tmp_path / "fresh", 1, 1), new_store(tmp_path / "target", 3, 2)
    release = night(store, landing)
    saved = back_up(store, fresh, release=release, spec=SPEC).digest
    restore_release(fresh, target, saved)
    again = restore_release(fresh, target, saved)

    assert traces_in(fresh) == traces_in(target) == set()
    assert again.written == 0
    assert erased_rows(fresh) == erased_rows(target) == erased_rows(store)
    assert forgotten(target) <= forgotten(store)
    assert night(target, landing) == release


def test_a_backup_between_forgetting_and_collection_leaves_the_files_out(
    store: Store, backup: Store, landing: Path, tmp_path: Path
) -> None:
    """They are still there, and nobody shall have them anew."""
    found = look(store, landing, ADDRESS)
    record(store, backup, found)
    release = night(store, landing)
    forget(store, found)
    fresh = new_store(tmp_path / "fresh", 1, 1)
    back_up(store, fresh, release=release, spec=SPEC)

    assert traces_in(store) != set()
    assert traces_in(fresh) == set()


def test_a_backup_that_lacks_more_than_was_forgotten_is_damaged(
    store: Store, storage_settings: StorageSettings, backup: Store, landing: Path, tmp_path: Path
) -> None:
    """An erasure excuses the files it forgot and no other."""
    store = erase(store, storage_settings, backup, landing)
    fresh = new_store(tmp_path / "fresh", 1, 1)
    saved = back_up(store, fresh, release=night(store, landing), spec=SPEC)
    inventory = Inventory.decode(fresh.read(saved.manifest.file("closure.json")))
    next((tmp_path / "fresh").rglob(next(iter(inventory.objects)))).unlink()

    with pytest.raises(AllCopiesDamaged):
        restore_release(fresh, new_store(tmp_path / "target", 1, 1), saved.digest)


def test_the_inventory_of_an_older_backup_is_read() -> None:
    """Backups of before there were erasures name nothing forgotten."""
    document = json.loads(Inventory(release="0" * 64, manifests=(), objects={}, results={}, streams={}).encode())
    del document["forgotten"]

    assert Inventory.decode(json.dumps(document).encode()).forgotten == ()
