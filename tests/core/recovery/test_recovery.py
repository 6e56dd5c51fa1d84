"""What is backed up comes back: all of it, and nothing else."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.errors import AllCopiesDamaged, DataError, StorageError
from operators.core.recovery.back_up import back_up
from operators.core.recovery.inventory import INVENTORY_FILE, Inventory
from operators.core.recovery.restore import latest_backup, restore_release
from operators.core.recovery.spec import BackUpSpec
from operators.core.storage import Store
from operators.core.storage.graph import closure, objects
from tests.core.recovery.conftest import append, make_release, new_store

SPEC = BackUpSpec(recipe="mail")


def everything(store: Store, release: str) -> dict[str, object]:
    """Return all that a release and its streams reach in a store: manifests, bytes, results, entries."""
    streams = {name: store.stream(name).entries() for name in SPEC.streams}
    manifests = closure(store, [release, *(entry.manifest for history in streams.values() for entry in history)])
    found = {digest: store.find(manifest.run_key) for digest, manifest in manifests.items()}
    return {
        "manifests": manifests,
        "bytes": {digest: store.read(entry) for digest, entry in objects(manifests).items()},
        "results": {digest: result and result.digest for digest, result in found.items()},
        "streams": streams,
    }


def files_of(store: Store) -> set[Path]:
    """Return every file of a store in directories."""
    folders = [endpoint.folder for endpoint in store.membership.endpoints.values()]  # type: ignore[attr-defined]
    return {path for folder in folders for path in folder.rglob("*") if path.is_file()}


@settings(max_examples=4, deadline=None)
@given(
    contents=st.lists(st.binary(min_size=1, max_size=64), min_size=1, max_size=3, unique=True),
    shape=st.sampled_from([(1, 1), (3, 2), (2, 2), (5, 3)]),
)
def test_restore_after_back_up_is_identity(contents: list[bytes], shape: tuple[int, int]) -> None:
    """Everything reachable reads the same in a new store of any shape: manifests, bytes, results, stream entries."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        store, backup = new_store(place / "store", 3, 2), new_store(place / "backup", 1, 1)
        for number, content in enumerate(contents):
            release = make_release(store, f"2002-09-{number + 1:02d}", content)
        saved = back_up(store, backup, release=release, spec=SPEC)
        target = new_store(place / "target", *shape)
        restore_release(backup, target, saved.digest)

        assert everything(store, release) == everything(target, release)


def test_a_second_backup_copies_only_what_is_new(store: Store, backup: Store) -> None:
    """Of the next day's release only its own pieces travel; all pieces are verified."""
    first = back_up(store, backup, release=make_release(store, "2002-09-01", b"one"), spec=SPEC).manifest.facts
    second = back_up(store, backup, release=make_release(store, "2002-09-02", b"two"), spec=SPEC).manifest.facts

    assert first["copied_objects"] == first["verified"] == 4 + 5
    assert second["copied_objects"] == 3 + 5
    assert second["verified"] == 7 + 10
    assert (second["manifests"], second["objects"]) == (10, 7)


def test_backing_up_twice_makes_one_backup(store: Store, backup: Store) -> None:
    """A second try with nothing new finds the first one's manifest and adds no entry."""
    release = make_release(store, "2002-09-01", b"one")
    first = back_up(store, backup, release=release, spec=SPEC)
    second = back_up(store, backup, release=release, spec=SPEC)

    assert first.digest == second.digest
    assert len(backup.stream("backup-mail").entries()) == 1
    assert store.manifest(first.digest) == first.manifest


def test_the_newest_backup_is_the_head_of_its_stream(store: Store, backup: Store) -> None:
    """`latest` means the backup that was announced last."""
    back_up(store, backup, release=make_release(store, "2002-09-01", b"one"), spec=SPEC)
    second = back_up(store, backup, release=make_release(store, "2002-09-02", b"two"), spec=SPEC)

    assert second.digest == latest_backup(backup, "mail")
    with pytest.raises(DataError, match="no backup"):
        latest_backup(backup, "other")


def test_a_restore_run_twice_changes_nothing(store: Store, backup: Store, tmp_path: Path) -> None:
    """The second restore writes no file."""
    saved = back_up(store, backup, release=make_release(store, "2002-09-01", b"one"), spec=SPEC)
    target = new_store(tmp_path / "target", 3, 2)
    first = restore_release(backup, target, saved.digest)
    files = files_of(target)
    second = restore_release(backup, target, saved.digest)

    assert first.written == 9
    assert second.written == 0
    assert files == files_of(target)


def test_a_restore_that_was_cut_off_goes_on(store: Store, backup: Store, tmp_path: Path) -> None:
    """What a first try brought stays, and the second brings the rest."""
    release = make_release(store, "2002-09-01", b"one")
    saved = back_up(store, backup, release=release, spec=SPEC)
    target = new_store(tmp_path / "target", 3, 2)

    def stop_half_way(done: int, total: int, note: str) -> None:
        if "copied" in note and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_release(backup, target, saved.digest, progress=stop_half_way)
    assert target.stream("release-mail").head() is None
    restore_release(backup, target, saved.digest)

    assert everything(store, release) == everything(target, release)


@pytest.mark.parametrize("kind", ["obj", "man"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_backup_writes_nothing(store: Store, backup: Store, tmp_path: Path, kind: str, harm: str) -> None:
    """One bit, one end or one file less in the backup: refused, and the target is as it was."""
    release = make_release(store, "2002-09-01", b"one")
    saved = back_up(store, backup, release=release, spec=SPEC)
    manifests = closure(store, [release])
    piece = (
        next(iter(objects(manifests))) if kind == "obj" else next(digest for digest in manifests if digest != release)
    )
    path = next(path for path in files_of(backup) if path.name == piece)
    content = path.read_bytes()
    path.unlink()
    if harm != "remove":
        path.write_bytes(content[:-1] if harm == "cut" else bytes([content[0] ^ 1]) + content[1:])
    target = new_store(tmp_path / "target", 3, 2)
    before = files_of(target)

    with pytest.raises(AllCopiesDamaged):
        restore_release(backup, target, saved.digest)
    assert before == files_of(target)


def test_the_next_backup_mends_a_damaged_one(store: Store, backup: Store, tmp_path: Path) -> None:
    """A piece that rotted in the backup is copied again while the store still has it."""
    release = make_release(store, "2002-09-01", b"one")
    saved = back_up(store, backup, release=release, spec=SPEC)
    piece = next(iter(objects(closure(store, [release]))))
    copy = next(path for path in files_of(backup) if path.name == piece)
    sound = copy.read_bytes()
    copy.write_bytes(b"rotten")
    back_up(store, backup, release=release, spec=SPEC)

    assert sound == copy.read_bytes()
    assert restore_release(backup, new_store(tmp_path / "target", 1, 1), saved.digest)


def test_nothing_is_announced_when_the_store_lost_something(store: Store, backup: Store) -> None:
    """An object lost in the store on all endpoints: the backup fails and its stream stays as it was."""
    release = make_release(store, "2002-09-01", b"one")
    piece = next(iter(objects(closure(store, [release]))))
    for path in files_of(store):
        if path.name == piece:
            path.unlink()

    with pytest.raises(AllCopiesDamaged):
        back_up(store, backup, release=release, spec=SPEC)
    assert backup.stream("backup-mail").head() is None


def test_a_target_with_another_history_is_refused(store: Store, backup: Store, tmp_path: Path) -> None:
    """A store that has releases of its own is no empty place: nothing is written into it."""
    saved = back_up(store, backup, release=make_release(store, "2002-09-01", b"one"), spec=SPEC)
    target = new_store(tmp_path / "target", 3, 2)
    make_release(target, "2001-01-01", b"another")
    before = files_of(target)

    with pytest.raises(DataError, match="another history"):
        restore_release(backup, target, saved.digest)
    assert before == files_of(target)


def test_only_a_release_of_the_recipe_is_backed_up(store: Store, backup: Store) -> None:
    """Another recipe's release, or a manifest that is none, is refused by name."""
    foreign = make_release(store, "2002-09-01", b"one", recipe="other")
    part = store.stream("dataset-other").entries()[0].manifest

    for digest in (foreign, part):
        with pytest.raises(DataError, match="not a release of 'mail'"):
            back_up(store, backup, release=digest, spec=SPEC)


def test_only_a_backup_is_restored(store: Store, backup: Store, tmp_path: Path) -> None:
    """The digest of something else is refused."""
    release = make_release(store, "2002-09-01", b"one")
    back_up(store, backup, release=release, spec=SPEC)

    with pytest.raises(DataError, match="not a backup"):
        restore_release(backup, new_store(tmp_path / "target", 1, 1), release)


def test_an_older_release_is_backed_up_with_the_newer_ones(store: Store, backup: Store) -> None:
    """The streams go whole: a restored place can roll back as the old one could."""
    old = make_release(store, "2002-09-01", b"one")
    make_release(store, "2002-09-02", b"two")
    append(store, "release-mail", old)
    saved = back_up(store, backup, release=old, spec=SPEC)
    inventory = Inventory.decode(backup.read(saved.manifest.file(INVENTORY_FILE)))

    assert [len(history) for history in inventory.streams.values()] == [2, 3]
    assert len(inventory.manifests) == 10
    assert inventory == Inventory.decode(inventory.encode())


def test_the_database_comes_back_as_it_was(store: Store, backup: Store, database: Path, tmp_path: Path) -> None:
    """A copy taken while a writer holds the database open is whole, and is put only where nothing is."""
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("INSERT INTO dag_run VALUES ('manual__2')")
        writer.commit()
        writer.execute("INSERT INTO dag_run VALUES ('not committed')")
        saved = back_up(store, backup, release=make_release(store, "2002-09-01", b"one"), spec=SPEC, database=database)
    target, path = new_store(tmp_path / "target", 1, 1), tmp_path / "restored" / "airflow.db"
    restore_release(backup, target, saved.digest, database=path)
    restore_release(backup, target, saved.digest, database=path)

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT run_id FROM dag_run").fetchall() == [("manual__1",), ("manual__2",)]
    path.write_bytes(b"another database")
    with pytest.raises(DataError, match="is there already"):
        restore_release(backup, target, saved.digest, database=path)


def test_a_missing_database_stops_the_backup(store: Store, backup: Store, tmp_path: Path) -> None:
    """A backup that was to hold the database is not made without it."""
    release = make_release(store, "2002-09-01", b"one")

    with pytest.raises(DataError, match="database"):
        back_up(store, backup, release=release, spec=SPEC, database=tmp_path / "missing.db")


def test_a_backup_store_that_is_away_is_an_error_to_retry(store: Store, backup: Store, tmp_path: Path) -> None:
    """The backup's folder is gone: a storage error, which a retry may help."""
    release = make_release(store, "2002-09-01", b"one")
    (tmp_path / "backup" / "e0").rename(tmp_path / "elsewhere")

    with pytest.raises(StorageError) as caught:
        back_up(store, backup, release=release, spec=SPEC)
    assert caught.value.retry_can_help


def test_a_recipe_name_that_is_no_stream_is_refused() -> None:
    """Names become keys."""
    with pytest.raises(ValueError, match="recipe"):
        BackUpSpec(recipe="../x")
