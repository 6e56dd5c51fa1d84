"""The whole platform comes back as it was at the cut, and only from a backup that is its own and whole."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.errors import AllCopiesDamaged, DataError, KeyMissing, SignatureRefused
from operators.core.manifest import Made, StageCall
from operators.core.recovery.back_up_platform import PlatformBackup, Surroundings, back_up_platform
from operators.core.recovery.backups import choose, moments, unlock
from operators.core.recovery.inventory import INVENTORY_FILE
from operators.core.recovery.kit import RecoveryKit
from operators.core.recovery.reconcile import reconcile
from operators.core.recovery.restore_platform import restore_platform
from operators.core.signing import Signer
from operators.core.storage import Store
from operators.core.storage.documents import read_all
from operators.core.storage.graph import closure, objects
from operators.core.storage.holds import Hold, place_hold
from operators.core.storage.listing import result_digests, run_keys, stream_names
from operators.core.storage.roots import roots
from tests.core.recovery.conftest import ONE, SIGNER, Save, append, make_release, new_store
from tests.core.recovery.test_recovery import files_of


def state_of(store: Store) -> dict[str, Any]:
    """Return all that a store keeps: slots, manifests, bytes, documents."""
    manifests = closure(store, roots(store))
    return {
        "results": result_digests(store, run_keys(store)),
        "streams": {name: store.stream(name).entries() for name in stream_names(store)},
        "manifests": manifests,
        "bytes": {digest: store.read(entry) for digest, entry in objects(manifests).items()},
        "documents": {folder: read_all(store.membership, store.record, folder) for folder in ("hold", "account")},
    }


def release(store: Store, _: Path, number: int) -> None:
    """A release of one of two recipes."""
    make_release(store, f"2002-09-{number + 1:02d}", f"day {number}".encode(), recipe="mail" if number % 2 else "other")


def hold(store: Store, _: Path, number: int) -> None:
    """A hold on the newest result."""
    digests = sorted(result_digests(store, run_keys(store)).values())
    if digests:
        place_hold(store.membership, store.record, Hold(manifest=digests[number % len(digests)], reason="why not"))


def account(store: Store, _: Path, number: int) -> None:
    """What a try cost."""
    store.add_account(f"{number:064x}", "try.1", {"seconds": number})


def checkpoint(store: Store, _: Path, number: int) -> None:
    """One more checkpoint of a training that is not done."""
    saved = store.put_bytes("step", b"state %d" % number)
    call = StageCall(stage="checkpoint", revision=1, spec={"step": number})
    append(store, f"checkpoint-{'0' * 64}", store.once(call, lambda: Made(files=(saved,))).digest)


FERNET = Fernet.generate_key()
TABLES = """
CREATE TABLE dag_run (dag_id, run_id, state);
CREATE TABLE task_instance (dag_id, run_id, task_id, map_index, state, try_number, max_tries, end_date);
CREATE TABLE xcom (dag_id, run_id, task_id, map_index, key, value);
CREATE TABLE connection (conn_id, conn_type, host, password, port, is_encrypted);
"""


def make_database(path: Path) -> None:
    """Airflow's tables, empty."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(TABLES)


def dag_run(store: Store, path: Path, number: int) -> None:
    """A run that has ended, and that handed on a result where there is one."""
    digests = sorted(result_digests(store, run_keys(store)).values())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO dag_run VALUES ('retrain_mail', ?, 'success')", (f"manual__{number}",))
        row = (f"manual__{number}", number, 5)
        connection.execute("INSERT INTO task_instance VALUES ('retrain_mail', ?, 'a', -1, 'success', ?, ?, NULL)", row)
        if digests:
            named = (f"manual__{number}", f'"{digests[number % len(digests)]}"')
            connection.execute("INSERT INTO xcom VALUES ('retrain_mail', ?, 'a', -1, 'return_value', ?)", named)


def new_connection(_: Store, path: Path, number: int) -> None:
    """A connection, its password under the Fernet key."""
    hidden = Fernet(FERNET).encrypt(f"secret {number}".encode()).decode()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO connection VALUES (?, 'aws', 'host', ?, ?, 1)", (f"c{number}", hidden, number))


STEPS = (release, hold, account, checkpoint, dag_run, new_connection)


def rows_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that a database of Airflow's holds."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_restore_after_back_up_is_the_identity(data: st.DataObject) -> None:
    """After any history, a restore to any moment gives store, runs and connections of the newest cut before it.

    In any shape of place; reconciling finds nothing to change; the escrow has the connections' passwords.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, now = Path(name), 1_800_000_000.0
        store, backup = new_store(folder / "store", 1, 1), new_store(folder / "backup", 1, 1)
        store.membership.clock = lambda: now
        make_database(airflow := folder / "airflow.db")
        kit = RecoveryKit.new(ONE, [SIGNER.public_key])
        recipients = {"keeper": kit.public_key}
        around = Surroundings(store=ONE, database=airflow, fernet_keys=(FERNET.decode(),), recipients=recipients)
        cuts: list[tuple[float, dict[str, Any], dict[str, list[tuple[Any, ...]]]]] = []
        for number in range(data.draw(st.integers(1, 8), "steps")):
            data.draw(st.sampled_from(STEPS), "step")(store, airflow, number)
            now += 10
            if data.draw(st.booleans(), "backed up"):
                cuts.append((now, state_of(store), rows_of(airflow)))
                back_up_platform(store, backup, around, signer=SIGNER)
        if not cuts:
            return
        wanted = data.draw(st.floats(cuts[0][0], now + 5), "moment")
        _, expected, rows = [cut for cut in cuts if cut[0] <= wanted][-1]
        found = choose(backup, datetime.datetime.fromtimestamp(wanted, datetime.UTC))
        target = new_store(folder / "target", *data.draw(st.sampled_from([(1, 1), (3, 2)]), "shape"))
        restore_platform(backup, target, found.backup, database=folder / "back.db")
        agreed = reconcile(folder / "back.db", target, backup)
        passwords = {row["conn_id"]: row["password"] for row in unlock(backup, found.backup, kit).connections}

        assert expected == state_of(target)
        assert rows == rows_of(folder / "back.db")
        assert (agreed.cleared, agreed.dangling) == ((), ())
        assert passwords == {row[0]: f"secret {row[4]}" for row in rows["connection"]}
        assert restore_platform(backup, target, found.backup).written == 0


def test_what_came_after_the_cut_is_adopted(store: Store, backup: Store, save: Save) -> None:
    """Files and slots of before are lost on every endpoint: they are back, and what is younger was never redone."""
    old = make_release(store, "2002-09-01", b"one")
    done = save()
    young = make_release(store, "2002-09-02", b"two")
    lost = {*objects(closure(store, [old])), old, store.manifest(old).run_key}
    for path in files_of(store):
        if path.name in lost or path.parent.name in lost or "log/release-mail/" in str(path.parent):
            path.unlink()
    fresh = Store(store.membership)
    restored = restore_platform(backup, fresh, done.digest)
    append(fresh, "release-mail", young)

    assert restored.written == 5
    assert [entry.manifest for entry in fresh.stream("release-mail").entries()] == [old, young]
    call = StageCall(stage="ingest_file", revision=1, spec={"day": "2002-09-02", "content": b"two".hex()})
    assert fresh.find(call.run_key) is not None
    state_of(fresh)


def test_a_result_computed_anew_is_kept_and_told(store: Store, backup: Store, save: Save) -> None:
    """The store is the truth: where it has another result of a run key than the backup, its own stays."""
    call = StageCall(stage="measure", revision=1)
    first = store.once(call, lambda: Made(facts={"seconds": 1}))
    done = save()
    for path in files_of(store):
        if call.run_key in str(path):
            path.unlink()
    second = store.once(call, lambda: Made(facts={"seconds": 2}))
    restored = restore_platform(backup, store, done.digest)

    assert restored.younger == (call.run_key,)
    assert first.digest != second.digest == result_digests(store, [call.run_key])[call.run_key]


@pytest.mark.parametrize("what", ["stream", "manifest"])
def test_one_thing_is_restored_alone(store: Store, backup: Store, save: Save, tmp_path: Path, what: str) -> None:
    """A data set's stream, or a model: with all it reaches, and nothing else."""
    make_release(store, "2002-09-01", b"one")
    make_release(store, "2002-09-01", b"two", recipe="other")
    dataset = store.stream("dataset-mail").entries()[0].manifest
    done = save()
    target = new_store(tmp_path / "target", 1, 1)
    restored = restore_platform(backup, target, done.digest, only="dataset-mail" if what == "stream" else dataset)

    assert (restored.manifests, restored.results) == (2, 2)
    assert stream_names(target) == (["dataset-mail"] if what == "stream" else [])
    assert target.read(target.manifest(dataset).file("train/0.parquet")) == b"one"
    with pytest.raises(DataError, match="neither a stream nor a manifest"):
        restore_platform(backup, target, done.digest, only="dataset-none")


@pytest.fixture
def sealed(store: Store, backup: Store, save: Save) -> tuple[RecoveryKit, PlatformBackup]:
    """A kit, and a backup with secrets sealed for it."""
    make_release(store, "2002-09-01", b"one")
    kit = RecoveryKit.new(ONE, [SIGNER.public_key])
    return kit, save(recipients={"keeper": kit.public_key})


def test_a_kit_opens_its_platform_s_backup(backup: Store, sealed: tuple[RecoveryKit, PlatformBackup]) -> None:
    """With nothing but the backup's endpoint and the kit."""
    kit, done = sealed

    assert unlock(Store(backup.membership), choose(backup).backup, kit).store == ONE
    assert [one.backup for one in moments(backup)] == [done.digest]


def test_a_wrong_key_another_s_backup_and_none_are_refused_by_name(
    store: Store, backup: Store, sealed: tuple[RecoveryKit, PlatformBackup]
) -> None:
    """Before anything is opened."""
    kit, done = sealed
    stranger = back_up_platform(
        store, backup, Surroundings(store=ONE, recipients={"keeper": kit.public_key}), signer=Signer(b"\1" * 32)
    )
    bare = back_up_platform(store, backup, Surroundings(store=ONE), signer=SIGNER)

    with pytest.raises(KeyMissing, match="wrong kit"):
        unlock(backup, done.digest, RecoveryKit.new(ONE, kit.trusted))
    with pytest.raises(SignatureRefused, match="is signed by the key"):
        unlock(backup, stranger.digest, kit)
    with pytest.raises(DataError, match="holds no secrets"):
        unlock(backup, bare.digest, kit)
    with pytest.raises(DataError, match="not a backup of the platform"):
        unlock(backup, _some_other(backup, store), kit)
    with pytest.raises(DataError, match="or before: the oldest is of"):
        choose(backup, datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC))


def _some_other(backup: Store, store: Store) -> str:
    other = next(manifest for manifest in closure(store, roots(store)).values() if manifest.stage == "release")
    return backup.put_manifest(other)


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
@pytest.mark.parametrize("kind", ["obj", "man", "inventory", "backup"])
def test_a_damaged_backup_writes_nothing(
    store: Store, backup: Store, save: Save, tmp_path: Path, kind: str, harm: str
) -> None:
    """One bit, one end or one file less: refused by the name of the piece, and the place is as it was."""
    make_release(store, "2002-09-01", b"one")
    done = save()
    manifests = closure(store, roots(store))
    name = {
        "obj": next(iter(objects(manifests))),
        "man": next(digest for digest, manifest in manifests.items() if manifest.stage == "fine_tune"),
        "inventory": done.manifest.file(INVENTORY_FILE).stored_sha256,
        "backup": done.digest,
    }[kind]
    (path,) = (path for path in files_of(backup) if path.name == name)
    content = path.read_bytes()
    path.unlink()
    if harm != "remove":
        path.write_bytes(content[:-1] if harm == "cut" else bytes([content[0] ^ 1]) + content[1:])
    target = new_store(tmp_path / "target", 3, 2)
    before = files_of(target)

    with pytest.raises(AllCopiesDamaged, match=name):
        restore_platform(Store(backup.membership), target, done.digest)
    assert before == files_of(target)


def test_another_format_is_refused_by_name(store: Store, backup: Store, save: Save, tmp_path: Path) -> None:
    """A backup of a later or an older form says which release reads it; nothing is written."""
    make_release(store, "2002-09-01", b"one")
    done = save()
    inventory = backup.read(done.manifest.file(INVENTORY_FILE)).replace(b'"format":1', b'"format":0')
    files = [entry for entry in done.manifest.files if entry.name != INVENTORY_FILE]
    other = dataclasses.replace(done.manifest, files=(*files, backup.put_bytes(INVENTORY_FILE, inventory)))
    target = new_store(tmp_path / "target", 1, 1)
    before = files_of(target)

    with pytest.raises(DataError, match="another format"):
        restore_platform(backup, target, backup.put_manifest(other))
    assert before == files_of(target)


def test_a_place_with_another_history_is_refused(store: Store, backup: Store, save: Save, tmp_path: Path) -> None:
    """A store that has releases of its own is neither empty nor what is left of this one."""
    make_release(store, "2002-09-01", b"one")
    done = save()
    target = new_store(tmp_path / "target", 1, 1)
    make_release(target, "2001-01-01", b"another")
    before = files_of(target)

    with pytest.raises(DataError, match="another history"):
        restore_platform(backup, target, done.digest)
    assert before == files_of(target)


def test_a_backup_outlives_its_store(store: Store, backup: Store, save: Save, tmp_path: Path) -> None:
    """All endpoints are gone; the backup alone gives everything back."""
    make_release(store, "2002-09-01", b"one")
    expected = state_of(store)
    done = save()
    for endpoint in store.membership.endpoints.values():
        shutil.rmtree(endpoint.folder)  # type: ignore[attr-defined]
    target = new_store(tmp_path / "target", 3, 2)
    restore_platform(Store(backup.membership), target, done.digest)

    assert expected == state_of(target)
