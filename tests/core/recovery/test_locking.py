"""A backup outlives who holds the backup store's credentials, where its bucket has object lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.cli import main
from operators.core.progress import Progress
from operators.core.recovery.back_up_platform import Surroundings, back_up_platform
from operators.core.recovery.backups import choose
from operators.core.recovery.locking import LOCK_SECONDS, NEW_SECONDS, TURNS, lock_needed
from operators.core.recovery.restore_platform import restore_platform
from operators.core.recovery.retention import needed
from operators.core.recovery.spec import RetentionSpec
from operators.core.settings import StorageSettings
from operators.core.storage import Store, initialise, open_store
from operators.core.storage.bucket import S3Endpoint
from operators.core.storage.roots import Reached
from tests.core.recovery.conftest import ONE, SIGNER, make_release, new_store
from tests.core.recovery.test_platform_restore import state_of
from tests.encryption import ENCRYPTION
from tests.runbook import ON_A_BUCKET
from tests.seaweed import Seaweed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def keep_all(backup: Store, progress: Progress) -> Reached:
    """What all backups need."""
    return needed(backup, RetentionSpec(), progress)


@pytest.fixture
def settings(seaweed: list[Seaweed]) -> StorageSettings:
    """A backup store in one bucket that has object lock, found out when it is made."""
    settings = StorageSettings(endpoints=(seaweed[0].locking_bucket(),), acknowledge=1, encryption=ENCRYPTION)
    initialise(settings, rounds=1)
    return settings


@pytest.fixture
def locked(settings: StorageSettings) -> Iterator[Store]:
    """That store, open."""
    store = open_store(settings)
    yield store
    store.close()


def test_a_backup_that_was_deleted_by_who_may_is_brought_back(
    settings: StorageSettings,
    locked: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each key is hidden and each version tried to be deleted: one command, and a restore gives the whole store."""
    store = new_store(tmp_path / "store", 1, 1, ENCRYPTION)
    make_release(store, "2002-09-01", b"one")
    expected = state_of(store)
    digest = back_up_platform(store, locked, Surroundings(store=ONE), signer=SIGNER).digest
    locked.end_lease()
    assert lock_needed(locked, keep_all) > 20
    thief = S3Endpoint(settings.endpoints[0])
    for key in [one.key for one in thief.list("")]:
        thief.delete(key)
    for version in list(thief.versions.below("")):
        if not version.is_mark:
            thief.versions.delete(version)
    (tmp_path / "backup.json").write_text(settings.to_json())
    monkeypatch.chdir(tmp_path)

    assert thief.list("") == []
    assert [main(command.split()[1:]) for command in ON_A_BUCKET] == [0, 0, 0]
    said = capsys.readouterr().out
    assert "object lock" in said and "keys show again what was first written there" in said
    again = open_store(settings)
    target = new_store(tmp_path / "target", 1, 1, ENCRYPTION)
    assert choose(again).backup == digest
    restore_platform(again, target, digest)
    again.close()
    assert expected == state_of(target)


def test_what_no_backup_needs_is_not_locked(settings: StorageSettings, locked: Store, tmp_path: Path) -> None:
    """It can be pruned for good; what is needed cannot."""
    store = new_store(tmp_path / "store", 1, 1)
    make_release(store, "2002-09-01", b"one")
    back_up_platform(store, locked, Surroundings(store=ONE), signer=SIGNER)
    scrap = locked.put_bytes("scrap", b"of a backup that was killed").stored_sha256
    lock_needed(locked, keep_all)
    endpoint = S3Endpoint(settings.endpoints[0])
    objects = [one for one in endpoint.versions.below("") if "/obj/" in one.key]

    assert len(objects) > 5
    assert {one.key.rsplit("/", 1)[1] for one in objects if endpoint.versions.delete(one)} == {scrap}


def test_a_lock_is_renewed_before_it_ends() -> None:
    """With a backup a night each key has its turn four times in a lock's time; what is new need not wait for it."""
    assert TURNS * 86400 <= LOCK_SECONDS / 4
    assert NEW_SECONDS > 2 * 86400


def test_a_store_in_folders_is_left_alone(backup: Store, store: Store, tmp_path: Path) -> None:
    """Nothing is locked; and a command that wants versions says that there are none."""
    make_release(store, "2002-09-01", b"one")
    back_up_platform(store, backup, Surroundings(store=ONE), signer=SIGNER)
    (tmp_path / "backup.json").write_text(ONE.to_json())

    assert lock_needed(backup, keep_all) == 0
    assert main(["undelete", "--storage-file", str(tmp_path / "backup.json")]) == 2
