"""Backups of an encrypted store: bytes and wrapped keys travel as they are, and come back readable."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.core.errors import AllCopiesDamaged, KeyMissing
from operators.core.recovery.back_up import back_up
from operators.core.recovery.copying import object_pieces, verify_all
from operators.core.recovery.restore import restore_release
from operators.core.recovery.spec import BackUpSpec
from operators.core.settings import EncryptionSettings, MasterKey
from operators.core.storage import Store
from operators.core.storage.graph import closure
from operators.core.storage.rotation import rotate
from tests.core.recovery.conftest import make_release, new_store
from tests.core.recovery.test_recovery import everything, files_of
from tests.encryption import ENCRYPTION, ROTATED, SECOND

SPEC = BackUpSpec(recipe="mail")
NEW_ONLY = EncryptionSettings(masters=(SECOND,), current=2, store_secret=ENCRYPTION.store_secret)
CONTENT = b"Ada Lovelace <ada@example.org> wrote this"


@pytest.fixture
def sealed(tmp_path: Path) -> Store:
    """An encrypted store of three."""
    return new_store(tmp_path / "store", 3, 2, ENCRYPTION)


@pytest.fixture
def vault(tmp_path: Path) -> Store:
    """An encrypted backup store."""
    return new_store(tmp_path / "backup", 1, 1, ENCRYPTION)


def with_keys(store: Store, encryption: EncryptionSettings | None) -> Store:
    """Open the same endpoints with other keys."""
    return Store(store.membership, encryption)


def keys_of(store: Store, master: int) -> set[str]:
    """Return the names of all wrapped keys of a version but the store's own check."""
    return {path.name for path in files_of(store) if path.parent.name == str(master)} - {"check"}


def test_a_backup_of_an_encrypted_store_restores_as_it_was(
    sealed: Store, vault: Store, tmp_path: Path, database: Path
) -> None:
    """Every byte of the store reads the same in the restored one, by the same keys; objects have the same names."""
    release = make_release(sealed, "2002-09-01", CONTENT)
    saved = back_up(sealed, vault, release=release, spec=SPEC, database=database)
    target = new_store(tmp_path / "target", 3, 2, ENCRYPTION)
    restore_release(vault, target, saved.digest, database=tmp_path / "back.db")

    assert everything(sealed, release) == everything(target, release)
    assert (tmp_path / "back.db").stat().st_size > 0
    assert restore_release(vault, target, saved.digest).written == 0


def test_a_backup_holds_no_plaintext(sealed: Store, vault: Store, database: Path) -> None:
    """Neither of the data nor of Airflow's database nor of the inventory."""
    back_up(sealed, vault, release=make_release(sealed, "2002-09-01", CONTENT), spec=SPEC, database=database)
    kept = [path.read_bytes() for path in files_of(vault)]

    assert len(kept) > 15
    for text in (CONTENT, b"ada@example", b"\x28\xb5\x2f\xfd", b'"results"'):
        assert not any(text in data for data in kept)


def test_after_a_rotation_the_next_backup_brings_the_new_keys(sealed: Store, vault: Store, tmp_path: Path) -> None:
    """No object is copied again, and the backup opens with the new master key alone."""
    release = make_release(sealed, "2002-09-01", CONTENT)
    back_up(sealed, vault, release=release, spec=SPEC)
    rotated = with_keys(sealed, ROTATED)
    rotate(rotated, drop_old=True)
    saved = back_up(rotated, with_keys(vault, ROTATED), release=release, spec=SPEC)
    rotate(with_keys(vault, ROTATED), drop_old=True)
    target = new_store(tmp_path / "target", 3, 2, NEW_ONLY)
    restore_release(with_keys(vault, NEW_ONLY), target, saved.digest)

    assert everything(rotated, release) == everything(target, release)


def test_a_wrapped_key_that_rotted_in_the_backup_is_brought_again(sealed: Store, vault: Store) -> None:
    """The next backup mends one that is gone and one that is damaged, as it mends objects."""
    release = make_release(sealed, "2002-09-01", CONTENT)
    back_up(sealed, vault, release=release, spec=SPEC)
    gone, rotten, *_ = (path for path in files_of(vault) if path.name in keys_of(sealed, 1) and path.parent.name == "1")
    gone.unlink()
    rotten.write_bytes(b"rotten")
    back_up(sealed, vault, release=release, spec=SPEC)

    assert keys_of(sealed, 1) <= keys_of(vault, 1)
    assert rotten.read_bytes() != b"rotten"


def test_a_backup_is_made_while_the_key_is_rotated(sealed: Store, vault: Store) -> None:
    """A process that still has the old settings copies keys of both versions into an empty backup, and writes there."""
    release = make_release(sealed, "2002-09-01", CONTENT)
    rotate(with_keys(sealed, ROTATED))
    saved = back_up(sealed, vault, release=release, spec=SPEC)

    assert keys_of(sealed, 2) <= keys_of(vault, 2)
    assert with_keys(vault, ROTATED).read(saved.manifest.files[0])


def test_a_backup_without_a_wrapped_key_is_damaged(sealed: Store, vault: Store, tmp_path: Path) -> None:
    """An object that nothing opens is no backup of it: named, refused, and nothing is written."""
    release = make_release(sealed, "2002-09-01", CONTENT)
    saved = back_up(sealed, vault, release=release, spec=SPEC)
    (piece, *_) = object_pieces(closure(sealed, [release]))
    (path,) = (path for path in files_of(vault) if path.name == piece.digest and path.parent.name == "1")
    path.unlink()
    target = new_store(tmp_path / "target", 3, 2, ENCRYPTION)
    before = files_of(target)
    with pytest.raises(AllCopiesDamaged, match="no good copy of 1 of its pieces"):
        restore_release(vault, target, saved.digest)

    assert before == files_of(target)
    for keys in (ENCRYPTION, None):
        damaged = verify_all(with_keys(vault, keys), {piece: 1}, lambda *_: None)
        assert damaged == [f"obj/{piece.digest}"]


OTHER = EncryptionSettings(masters=(MasterKey(version=1, secret="ff" * 32),), current=1, store_secret="ee" * 32)


@pytest.mark.parametrize(
    ("target_keys", "message"), [(None, "hold no keys"), (OTHER, "is not the one that wrapped it")]
)
def test_a_place_that_could_not_read_it_is_not_restored_into(
    sealed: Store, vault: Store, tmp_path: Path, target_keys: EncryptionSettings | None, message: str
) -> None:
    """The target's settings must open what is brought: said before anything is written."""
    saved = back_up(sealed, vault, release=make_release(sealed, "2002-09-01", CONTENT), spec=SPEC)
    target = new_store(tmp_path / "target", 3, 2, target_keys)
    before = files_of(target)
    with pytest.raises(KeyMissing, match=message):
        restore_release(vault, target, saved.digest)

    assert before == files_of(target)


def test_files_from_before_encryption_are_backed_up_beside_the_others(
    sealed: Store, vault: Store, tmp_path: Path
) -> None:
    """A history that is plain first and encrypted later restores whole."""
    make_release(with_keys(sealed, None), "2002-09-01", b"plain days")
    release = make_release(sealed, "2002-09-02", CONTENT)
    saved = back_up(sealed, vault, release=release, spec=SPEC)
    target = new_store(tmp_path / "target", 3, 2, ENCRYPTION)
    restore_release(vault, target, saved.digest)

    assert everything(sealed, release) == everything(target, release)
