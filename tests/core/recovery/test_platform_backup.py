"""Backups of the whole platform: what is in them, what they cost, and how long they are kept."""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.errors import AllCopiesDamaged, CollectionRefused, DataError, StorageError
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.recovery.back_up_platform import RECORD, SHARES, Surroundings, back_up_platform
from operators.core.recovery.code import unpack_code
from operators.core.recovery.escrow import Escrow
from operators.core.recovery.inventory import CODE_FILE, DATABASE_FILE, ESCROW_FILE, INVENTORY_FILE, PLATFORM, Inventory
from operators.core.recovery.kit import RecoveryKit
from operators.core.recovery.retention import kept, kept_backups, needed
from operators.core.recovery.spec import RetentionSpec
from operators.core.signing import check_signature
from operators.core.storage import Store
from operators.core.storage.collect import Collector
from operators.core.storage.collection import CollectSpec
from operators.core.storage.graph import closure, objects
from operators.core.storage.holds import Hold, lift_hold, place_hold
from operators.core.storage.listing import run_keys, stream_names
from tests.core.recovery.conftest import ONE, SIGNER, Save, append, make_release, new_store
from tests.core.recovery.test_recovery import files_of
from tests.encryption import ENCRYPTION


def test_a_backup_lists_every_slot_and_all_that_is_kept(store: Store, backup: Store, save: Save) -> None:
    """Results, streams, holds and accounts; no release has to be named."""
    release = make_release(store, "2002-09-01", b"one")
    make_release(store, "2002-09-01", b"two", recipe="other")
    place_hold(store.membership, store.record, Hold(manifest=release, reason="the auditors"))
    store.add_account(store.manifest(release).run_key, "try.1", {"seconds": 1})
    slots, names = run_keys(store), stream_names(store)
    done = save()
    inventory = Inventory.decode(backup.read(done.manifest.file(INVENTORY_FILE)))

    assert list(inventory.results) == slots
    assert sorted(inventory.streams) == names
    assert [name.startswith("release-") for name in inventory.streams] == [False, False, True, True]
    assert {key.split("/")[0] for key in inventory.documents} == {"hold", "account"}
    assert set(inventory.manifests) == set(closure(store, inventory.results.values()))
    assert (done.manifest.facts["manifests"], done.manifest.facts["copied_objects"]) == (10, 17)


def test_the_second_backup_copies_what_is_new_and_reads_a_share_of_the_rest(store: Store, save: Save) -> None:
    """Of an unchanged store nothing is copied but the first backup's record; in turn every piece is read again."""
    make_release(store, "2002-09-01", b"one")
    save()
    later = [save().manifest.facts for _ in range(SHARES)]

    assert [facts["copied_objects"] for facts in later] == [1] * SHARES
    # Nine pieces of the release, each once; each record but the last is copied, and may have had its turn since.
    assert 9 + SHARES <= sum(facts["read_back"] for facts in later) <= 9 + 2 * SHARES


def test_a_piece_that_went_missing_is_copied_again(store: Store, backup: Store, save: Save) -> None:
    """An object that was removed from the backup store is back after the next backup."""
    release = make_release(store, "2002-09-01", b"one")
    save()
    lost = next(iter(objects(closure(store, [release]))))
    (path,) = (path for path in files_of(backup) if path.name == lost)
    path.unlink()
    save()

    assert path.exists()


def test_the_store_knows_of_the_backup(store: Store, save: Save) -> None:
    """Its stream `backup` says when the last one was made and what came of it."""
    make_release(store, "2002-09-01", b"one")
    done = save()
    head = store.stream(RECORD).head()

    assert head is not None
    assert store.manifest(head.manifest).facts == done.manifest.facts
    assert store.manifest(head.manifest).spec == {"backup": done.digest}


def test_database_code_and_secrets_go_with_it(backup: Store, save: Save, database: Path, tmp_path: Path) -> None:
    """The kit opens the escrow without any key of the store; nobody else's does; the backup is signed."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "one.py").write_text("dag")
    (tmp_path / "lock").write_text("lock")
    (tmp_path / "credentials.json").write_text("fernet")
    kit = RecoveryKit.new(ONE, [SIGNER.public_key])
    done = save(
        database=database,
        code=(tmp_path / "dags", tmp_path / "lock"),
        files={"credentials.json": tmp_path / "credentials.json", "absent": tmp_path / "absent"},
        recipients={"keeper": kit.public_key},
    )
    escrow = Escrow.decode(kit.open(backup.read(done.manifest.file(ESCROW_FILE))))

    assert unpack_code(backup.read(done.manifest.file(CODE_FILE))) == {"dags/one.py": b"dag", "lock": b"lock"}
    assert backup.read(done.manifest.file(DATABASE_FILE))
    assert (escrow.store, escrow.files) == (ONE, {"credentials.json": "fernet"})
    check_signature(backup, done.digest, [SIGNER.public_key])


def test_the_escrow_is_readable_where_nothing_else_is(tmp_path: Path) -> None:
    """In an encrypted backup a kit alone reads manifest, signature and escrow, and nothing is left in plain."""
    store, backup = new_store(tmp_path / "s", 3, 2, ENCRYPTION), new_store(tmp_path / "b", 1, 1, ENCRYPTION)
    make_release(store, "2002-09-01", b"Ada Lovelace wrote this")
    kit = RecoveryKit.new(ONE, [])
    around = Surroundings(store=ONE, recipients={"keeper": kit.public_key})
    done = back_up_platform(store, backup, around, signer=SIGNER)
    bare = Store(backup.membership)
    check_signature(bare, done.digest, [SIGNER.public_key])
    escrow = Escrow.decode(kit.open(bare.read(bare.manifest(done.digest).file(ESCROW_FILE))))

    assert escrow.store.encryption == ENCRYPTION
    held = [path.read_bytes() for path in files_of(backup)]
    for text in (b"Ada Lovelace", ENCRYPTION.masters[0].secret.encode()):
        assert not any(text in data for data in held)


def test_nothing_is_announced_when_the_store_lost_something(store: Store, backup: Store, save: Save) -> None:
    """An object lost on all endpoints, never backed up: refused, and the stream stays as it was."""
    release = make_release(store, "2002-09-01", b"one")
    lost = next(iter(objects(closure(store, [release]))))
    for path in files_of(store):
        if path.name == lost:
            path.unlink()

    with pytest.raises(AllCopiesDamaged):
        save()
    assert backup.stream(PLATFORM).head() is None


def test_of_two_backups_at_once_one_is_announced(store: Store, backup: Store) -> None:
    """The later one is told, and its next try finds the other's pieces."""
    make_release(store, "2002-09-01", b"one")

    def interrupt(done: int, total: int, note: str) -> None:
        if "copied" in note and backup.stream(PLATFORM).head() is None:
            back_up_platform(store, Store(backup.membership), Surroundings(store=ONE), signer=SIGNER)

    with pytest.raises(StorageError, match="another backup"):
        back_up_platform(store, backup, Surroundings(store=ONE), signer=SIGNER, progress=interrupt)
    assert len(backup.stream(PLATFORM).entries()) == 1


@given(
    days=st.lists(st.floats(0, 2000), min_size=1, max_size=60, unique=True),
    spec=st.builds(RetentionSpec, daily=st.integers(0, 9), weekly=st.integers(0, 6), monthly=st.integers(0, 13)),
)
def test_retention_keeps_the_newest_of_each_period(days: list[float], spec: RetentionSpec) -> None:
    """The newest of all always; no more than the periods have places; a kept day's is that day's newest."""
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    moments = [(start + datetime.timedelta(days=day)).isoformat(timespec="milliseconds") for day in days]
    keep = kept(moments, spec)

    assert moments.index(max(moments)) in keep
    assert len(keep) <= 1 + spec.daily + spec.weekly + spec.monthly + spec.yearly
    newest = {moment[:10]: moment for moment in sorted(moments)}
    assert set(sorted(newest.values(), reverse=True)[: spec.daily]) <= {moments[place] for place in keep}


def age(store: Store) -> None:
    """Make all that lies there look old to the collector."""
    for path in files_of(store):
        os.utime(path, (0, 0))


def test_pruning_takes_only_what_no_kept_backup_needs(store: Store, backup: Store, save: Save) -> None:
    """An object that only a dropped backup lists goes; every kept one is whole afterwards; manifests stay."""
    spec, careful = (
        RetentionSpec(daily=0, weekly=0, monthly=0, yearly=0),
        CollectSpec(grace_seconds=0.01, skew_seconds=0.0, max_share=0.9),
    )
    release = make_release(store, "2002-09-01", b"one")
    hold = Hold(manifest=store.put_manifest(store.manifest(release)), reason="until tomorrow")
    place_hold(store.membership, store.record, hold)
    orphan = store.put_bytes("scratch", b"only in the first backup")
    lone = store.put_manifest(Manifest.of(StageCall(stage="lone", revision=1), Made(files=(orphan,))))
    place_hold(store.membership, store.record, Hold(manifest=lone, reason="for a day"))
    first = save()
    lift_hold(store.membership, store.record, lone)
    second = save()
    backup.end_lease()
    age(backup)
    collector = Collector(backup, careful, needs=lambda held, progress: needed(held, spec, progress))
    marked = {key.rsplit("/", 1)[1] for key in collector.mark().keys}
    time.sleep(0.05)
    collector.sweep()
    left = {path.name for path in files_of(backup)}
    inventory = Inventory.decode(backup.read(second.manifest.file(INVENTORY_FILE)))

    assert kept_backups(backup, spec) == [second.digest]
    assert {lone, orphan.stored_sha256, first.manifest.file(INVENTORY_FILE).stored_sha256} <= marked
    assert not marked & {*inventory.manifests, *inventory.objects, first.digest, second.digest}
    assert {*inventory.manifests, *inventory.objects, first.digest} <= left
    assert orphan.stored_sha256 not in left


def test_a_new_platform_is_backed_up_and_pruned_before_it_has_released_anything(backup: Store, save: Save) -> None:
    """Neither a release nor a recovery key is needed: it says that nobody can open it, and nothing is taken away."""
    first, second = save(), save()
    collector = Collector(backup, CollectSpec(), needs=lambda held, progress: needed(held, RetentionSpec(), progress))
    plan = collector.sweep()
    plan = collector.mark() if plan.is_listless else plan

    assert (first.manifest.facts["results"], first.manifest.facts["sealed_for"]) == (0, [])
    assert plan.keys == ()
    assert kept_backups(backup, RetentionSpec())[-1] == second.digest


def test_nothing_is_pruned_while_a_backup_cannot_be_read(store: Store, backup: Store, save: Save) -> None:
    """The manifest of a backup is lost: what it needs cannot be told, and that is refused."""
    make_release(store, "2002-09-01", b"one")
    done = save()
    backup.end_lease()
    (path,) = (path for path in files_of(backup) if path.name == done.digest)
    path.unlink()
    fresh = Store(backup.membership)

    with pytest.raises(CollectionRefused, match="cannot be told"):
        Collector(fresh, CollectSpec(), needs=lambda held, progress: needed(held, RetentionSpec(), progress)).plan()


def test_a_backup_store_is_not_collected_like_another(store: Store, backup: Store, save: Save) -> None:
    """What backups list is reached by no manifest there: the usual collection refuses instead of taking it."""
    make_release(store, "2002-09-01", b"one")
    save()
    backup.end_lease()
    age(backup)

    with pytest.raises(CollectionRefused, match="this is a backup store"):
        Collector(backup, CollectSpec(grace_seconds=0.01, skew_seconds=0.0, max_share=1.0)).plan()


def test_retention_is_counted_in_whole_periods() -> None:
    """A negative number is refused by name."""
    with pytest.raises(ValueError, match="retention of"):
        RetentionSpec(daily=-1)


def test_an_inventory_of_a_release_is_no_platform_backup(store: Store, backup: Store) -> None:
    """Its stream has entries of one kind only: what is appended by hand is refused by name."""
    release = make_release(store, "2002-09-01", b"one")
    backup.put_manifest(store.manifest(release))
    append(backup, PLATFORM, release)

    with pytest.raises(DataError, match="no file"):
        back_up_platform(store, backup, Surroundings(store=ONE), signer=SIGNER)
