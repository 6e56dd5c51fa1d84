"""The master key changes; no object does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from operators.core.errors import KeyMissing, QuorumLost
from operators.core.manifest import FileEntry
from operators.core.settings import EncryptionSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store, rotation
from operators.core.storage.rotation import rotate
from tests.core.storage.flaky import Fault, bring_back, cut_off, make_flaky
from tests.core.storage.test_vault import get_at, key_of, put_at
from tests.encryption import ENCRYPTION, FIRST, ROTATED, SECOND

SITES = ("site_a", "site_b", "site_c")
CONTENTS = [b"content %d" % number for number in range(4)]
NEW_ONLY = EncryptionSettings(masters=(SECOND,), current=2, store_secret=ENCRYPTION.store_secret)

Open = Callable[[EncryptionSettings], Store]


@pytest.fixture
def open_with(storage_settings: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open one store in three directories with other keys each time; a few objects are several slices."""
    monkeypatch.setattr(rotation, "SLICE_KEYS", 2)
    initialise(storage_settings, rounds=0)
    opened: list[Store] = []

    def open_one(encryption: EncryptionSettings) -> Store:
        opened.append(open_store(replace(storage_settings, encryption=encryption)))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def entries(open_with: Open) -> list[FileEntry]:
    """Four files under the first version."""
    store = open_with(ENCRYPTION)
    return [store.put_bytes(f"file-{number}", content) for number, content in enumerate(CONTENTS)]


def objects(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return every object's bytes and when it was written, on all endpoints."""
    paths = [path for name in SITES for path in (folder / name).glob("*/obj/*/*")]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def keys(folder: Path, master: int) -> list[str]:
    """Return the names of all wrapped keys of a version, on all endpoints."""
    return [path.name for name in SITES for path in (folder / name).glob(f"*/key/{master}/*")]


def test_a_rotation_wraps_every_key_and_touches_no_object(
    open_with: Open, entries: list[FileEntry], tmp_path: Path
) -> None:
    """The new version alone opens all files; the objects are the same to the byte and were not written again."""
    before = objects(tmp_path)
    done = rotate(open_with(ROTATED))

    assert (done.master, done.keys, done.written, done.dropped) == (2, 5, 12, 0)
    assert (done.behind, done.lost) == ((), ())
    assert before == objects(tmp_path)
    assert len(before) == 12
    assert [open_with(NEW_ONLY).read(entry) for entry in entries] == CONTENTS
    assert [open_with(ENCRYPTION).read(entry) for entry in entries] == CONTENTS


def test_old_wrapped_keys_go_when_asked_for(open_with: Open, entries: list[FileEntry], tmp_path: Path) -> None:
    """Afterwards the old master key opens nothing, and the new one everything."""
    done = rotate(open_with(ROTATED), drop_old=True)

    assert (done.dropped, keys(tmp_path, 1)) == (15, [])
    assert len(keys(tmp_path, 2)) == 15
    assert [open_with(NEW_ONLY).read(entry) for entry in entries] == CONTENTS
    with pytest.raises(KeyMissing, match="wrapped by master key version 2, the settings hold 1"):
        open_with(ENCRYPTION).read(entries[0])


def test_a_second_rotation_writes_nothing(open_with: Open, entries: list[FileEntry]) -> None:
    """What is there is compared; the progress tells of every key."""
    rotate(open_with(ROTATED))
    told: list[tuple[int, int]] = []
    again = rotate(open_with(ROTATED), progress=lambda done, total, note: told.append((done, total)))

    assert (again.keys, again.written) == (5, 0)
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_a_rotation_killed_after_every_single_effect_gets_there(
    open_with: Open, entries: list[FileEntry], tmp_path: Path
) -> None:
    """Each try does one thing and dies. After each, both keys open all files; in the end only the new one is needed."""
    before = objects(tmp_path)
    tries = 0
    while tries < 100:
        store, effects = open_with(ROTATED), iter(range(1))
        for name in SITES:
            faults = [
                Fault(verb=verb, key="/key/", kind="run", times=-1, action=lambda effects=effects: die_at_end(effects))
                for verb in ("put", "put_if_absent", "delete")
            ]
            make_flaky(store, name, *faults)
        try:
            done = rotate(store, drop_old=True)
            break
        except KeyboardInterrupt:
            tries += 1
        assert [open_with(ROTATED).read(entry) for entry in entries] == CONTENTS

    # A few effects beside each other make it fewer tries than the 15 + 15 effects there are.
    assert tries >= 12
    assert (done.behind, done.lost, keys(tmp_path, 1)) == ((), (), [])
    assert before == objects(tmp_path)
    assert [open_with(NEW_ONLY).read(entry) for entry in entries] == CONTENTS


def die_at_end(effects: Iterator[int]) -> None:
    """Let as many effects happen as the iterator has, then none."""
    if next(effects, None) is None:
        raise KeyboardInterrupt


def test_an_endpoint_that_is_away_is_named_and_caught_up(
    open_with: Open, entries: list[FileEntry], tmp_path: Path
) -> None:
    """Two of three are enough to go on; the next rotation brings the third its keys."""
    store = open_with(ROTATED)
    cut_off(store, "site_c")
    done = rotate(store)
    bring_back(store, "site_c")
    again = rotate(store)

    assert (done.behind, done.written) == (("site_c",), 8)
    assert (again.behind, again.written) == ((), 4)
    assert len(keys(tmp_path, 2)) == 15


def test_nothing_is_dropped_while_too_few_hold_the_new_key(
    open_with: Open, entries: list[FileEntry], tmp_path: Path
) -> None:
    """One endpoint does not acknowledge: an error that a retry helps, and every old key is still there."""
    store = open_with(ROTATED)
    for name in ("site_b", "site_c"):
        make_flaky(store, name, Fault(verb="put", key="/key/2/", kind="refuse", times=-1))
    with pytest.raises(QuorumLost):
        rotate(store, drop_old=True)

    assert len(keys(tmp_path, 1)) == 15
    assert [open_with(ENCRYPTION).read(entry) for entry in entries] == CONTENTS


def test_a_key_that_no_endpoint_gives_stops_the_dropping(
    open_with: Open, entries: list[FileEntry], tmp_path: Path
) -> None:
    """The others are wrapped anew, the lost one is named, and no old key goes."""
    store = open_with(ROTATED)
    for name in SITES:
        put_at(store, name, key_of(entries[0]), b"rotten")
    done = rotate(store, drop_old=True)

    assert (done.lost, done.dropped) == ((entries[0].stored_sha256,), 0)
    assert len(keys(tmp_path, 1)) == 15
    assert [open_with(NEW_ONLY).read(entry) for entry in entries[1:]] == CONTENTS[1:]


def test_a_foreign_or_rotten_copy_does_not_spread(open_with: Open, entries: list[FileEntry]) -> None:
    """One endpoint's wrapped keys are another object's, or damaged: the new ones come from the next endpoint."""
    store = open_with(ROTATED)
    put_at(store, "site_a", key_of(entries[0]), get_at(store, "site_a", key_of(entries[1])) or b"")
    put_at(store, "site_a", key_of(entries[2]), b"rotten")
    rotate(store, drop_old=True)

    assert [open_with(NEW_ONLY).read(entry) for entry in entries] == CONTENTS


def test_what_is_written_under_the_old_version_meanwhile_is_rotated_next(
    open_with: Open, entries: list[FileEntry]
) -> None:
    """A writer that still has the old settings does no harm; the next rotation wraps what it wrote."""
    rotate(open_with(ROTATED), drop_old=True)
    late = open_with(ENCRYPTION)
    with pytest.raises(KeyMissing):
        late.put_bytes("late", b"late")
    # Its keys were proven before the drop: it goes on.
    late.vault._proven = True
    entry = late.put_bytes("late", b"late")
    done = rotate(open_with(ROTATED), drop_old=True)

    assert (done.keys, done.dropped) == (1, 3)
    assert open_with(NEW_ONLY).read(entry) == b"late"


def test_a_third_version_that_the_settings_lack_is_asked_for(open_with: Open, entries: list[FileEntry]) -> None:
    """Going back to the first version without the second that a file was wrapped with: refused, and it is named."""
    open_with(ROTATED).put_bytes("new", b"new")
    with pytest.raises(KeyMissing, match="wrapped by master key version 2, the settings hold 1"):
        rotate(open_with(ENCRYPTION))


def test_a_store_without_keys_has_nothing_to_rotate(open_with: Open, storage_settings: StorageSettings) -> None:
    """Settings without encryption cannot rotate; a store without objects has no old keys."""
    with pytest.raises(KeyMissing):
        rotate(open_store(storage_settings))
    assert rotate(open_with(ENCRYPTION)).keys == 0


def test_going_back_to_the_first_version_is_a_rotation_too(open_with: Open, entries: list[FileEntry]) -> None:
    """The current version is what the settings say, not the highest."""
    rotate(open_with(ROTATED), drop_old=True)
    back = EncryptionSettings(masters=(FIRST, SECOND), current=1, store_secret=ENCRYPTION.store_secret)
    rotate(open_with(back), drop_old=True)

    assert [open_with(ENCRYPTION).read(entry) for entry in entries] == CONTENTS
