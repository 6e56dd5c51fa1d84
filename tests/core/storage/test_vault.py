"""Encryption at rest, as a store does it: what lies on the endpoints, who can read it, and what a wrong key does."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from operators.core.errors import AllCopiesDamaged, DataError, KeyMissing, QuorumLost
from operators.core.manifest import FileEntry, Made, Manifest, StageCall
from operators.core.settings import EncryptionSettings, EndpointSettings, MasterKey, StorageSettings
from operators.core.storage import Store, initialise, open_store, vault
from operators.core.storage.resync import resync
from operators.core.storage.sealing import CHUNK_BYTES
from operators.core.storage.wrapping import decode_wrapped, wrapped_key
from tests.core.storage.flaky import Fault, cut_off, make_flaky
from tests.encryption import ENCRYPTION, FIRST, ROTATED, SECOND

CALL = StageCall(stage="ingest", revision=1, spec={"x": 1})
TEXT = b"Ada Lovelace <ada@example.org> wrote this in 1843.\n"
SITES = ("site_a", "site_b", "site_c")

Open = Callable[[EncryptionSettings | None], Store]


@pytest.fixture
def open_with(storage_settings: StorageSettings) -> Open:
    """Open one store in three directories with other keys each time."""
    initialise(storage_settings, rounds=0)
    return lambda encryption: open_store(replace(storage_settings, encryption=encryption))


def key_of(entry: FileEntry, master: int = 1) -> str:
    """Return where an object's wrapped key lies, below an incarnation."""
    return wrapped_key(master, entry.stored_sha256)


def put_at(store: Store, name: str, key: str, data: bytes) -> None:
    """Put bytes at one endpoint, past the store."""
    store.membership.endpoints[name].put(f"{store.record.line(name).incarnation}/{key}", data)


def get_at(store: Store, name: str, key: str) -> bytes | None:
    """Return the bytes that one endpoint holds."""
    return store.membership.endpoints[name].get(f"{store.record.line(name).incarnation}/{key}")


def files_below(folder: Path) -> dict[str, bytes]:
    """Return every file of the three endpoints."""
    paths = [path for name in SITES for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_no_byte_of_a_plaintext_lies_on_an_endpoint(open_with: Open, tmp_path: Path) -> None:
    """Of text, and of noise, no eight bytes in a row stand in any file; without keys the same search finds them."""
    noise = Random(7).randbytes(2 * CHUNK_BYTES)
    pieces = [TEXT[at : at + 8] for at in range(len(TEXT) - 8)] + [noise[at : at + 8] for at in range(0, 10_000, 997)]

    def found() -> set[bytes]:
        return {piece for data in files_below(tmp_path).values() for piece in pieces if piece in data}

    (tmp_path / "noise").write_bytes(noise)
    sealed = open_with(ENCRYPTION)
    made = Made(files=(sealed.put_bytes("text", TEXT * 20), sealed.put_file("noise", tmp_path / "noise")))
    sealed.once(CALL, lambda: made)
    assert len(files_below(tmp_path)) > 12
    assert found() == set()

    plain = open_with(None)
    plain.put_bytes("text", TEXT * 20)
    plain.put_file("noise", tmp_path / "noise")
    assert found() == set(pieces)


def test_the_same_plaintext_has_the_same_stored_name_everywhere(tmp_path: Path) -> None:
    """Two tries, bytes or a file, and another store with the same keys; another secret gives another name."""
    names = []
    (tmp_path / "file").write_bytes(TEXT * 60_000)
    for number, encryption in enumerate((ENCRYPTION, ENCRYPTION, replace(ENCRYPTION, store_secret="e5" * 32))):
        folder = tmp_path / str(number)
        folder.mkdir()
        settings = StorageSettings(
            endpoints=(EndpointSettings(name="only", url=folder.as_uri()),), acknowledge=1, encryption=encryption
        )
        initialise(settings, rounds=0)
        store = open_store(settings)
        entries = {
            store.put_bytes("x", TEXT * 60_000),
            store.put_bytes("x", TEXT * 60_000),
            store.put_file("x", tmp_path / "file"),
        }
        names.append({entry.stored_sha256 for entry in entries})

    assert [len(found) for found in names] == [1, 1, 1]
    assert names[0] == names[1]
    assert names[0] != names[2]


def test_the_result_of_a_run_does_not_depend_on_the_keys(open_with: Open) -> None:
    """Identities use the plaintext's digest: encrypted or not, a stage downstream has the same run key."""
    identities = set()
    for encryption in (None, ENCRYPTION):
        store = open_with(encryption)
        manifest = Manifest.of(CALL, Made(files=(store.put_bytes("text", TEXT),)))
        identities.add(manifest.identity)

    assert len(identities) == 1


def test_what_was_stored_before_there_were_keys_stays_readable(open_with: Open, tmp_path: Path) -> None:
    """Turning encryption on changes nothing that is there."""
    entry = open_with(None).put_bytes("old", TEXT)
    store = open_with(ENCRYPTION)
    store.fetch(entry, tmp_path / "old")

    assert store.read(entry) == TEXT == (tmp_path / "old").read_bytes()
    assert entry.sha256 == entry.stored_sha256 != store.put_bytes("old", TEXT).stored_sha256


@pytest.mark.parametrize("in_memory_bytes", [0, 2**30])
def test_a_large_file_goes_in_and_out_whole(
    open_with: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory_bytes: int
) -> None:
    """Several chunks, sealed in memory or through a local file; nothing but the file is left beside it."""
    monkeypatch.setattr(vault, "IN_MEMORY_BYTES", in_memory_bytes)
    content = Random(3).randbytes(3 * CHUNK_BYTES + 5)
    (tmp_path / "in").write_bytes(content)
    entry = open_with(ENCRYPTION).put_file("big", tmp_path / "in", rows=9)
    open_with(ENCRYPTION).fetch(entry, tmp_path / "out" / "big")

    assert (tmp_path / "out" / "big").read_bytes() == content
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["big"]
    assert (entry.bytes, entry.rows) == (len(content), 9)


def test_manifests_slots_streams_and_accounts_need_no_key(open_with: Open) -> None:
    """Lineage can be checked, and a store be scrubbed and backed up, by who holds none."""
    writer, keyless = open_with(ENCRYPTION), open_with(None)
    result = writer.once(CALL, lambda: Made(files=(writer.put_bytes("text", TEXT),)))
    writer.stream("versions").append(result.digest, None)
    writer.add_account(CALL.run_key, "try-1", {"seconds": 1})

    assert keyless.manifest(result.digest) == result.manifest
    assert keyless.find(CALL.run_key) is not None
    assert [entry.manifest for entry in keyless.stream("versions").entries()] == [result.digest]
    assert keyless.accounts(CALL.run_key)[0]["seconds"] == 1
    assert keyless.copies(result.manifest.files[0]) == 3


OTHER = MasterKey(version=1, secret="ff" * 32)
WITHOUT = [
    (None, "storage settings hold no keys"),
    (replace(ENCRYPTION, masters=(OTHER,)), "master key version 1 of the settings is not the one that wrapped it"),
    (EncryptionSettings(masters=(SECOND,), current=2), "wrapped by master key version 1, the settings hold 2"),
]


@pytest.mark.parametrize(("encryption", "message"), WITHOUT, ids=["none", "another", "other version"])
def test_without_the_master_key_the_message_says_what_is_missing(
    open_with: Open, tmp_path: Path, encryption: EncryptionSettings | None, message: str
) -> None:
    """Nothing is returned or left behind, no retry helps, and no key stands in the message."""
    entry = open_with(ENCRYPTION).put_bytes("text", TEXT)
    with pytest.raises(KeyMissing, match=message) as caught:
        open_with(encryption).fetch(entry, tmp_path / "out" / "text")

    assert not caught.value.retry_can_help
    assert list((tmp_path / "out").iterdir()) == []
    assert not any(secret in str(caught.value) for secret in ("11" * 8, "22" * 8, "5e" * 8, "ff" * 8))


WRONG = [
    (replace(ENCRYPTION, masters=(OTHER,)), "is not the one that wrapped it"),
    (replace(ENCRYPTION, store_secret="e5" * 32), "store secret of the settings is not the one"),
    (replace(ENCRYPTION, masters=(SECOND,), current=2), "wrapped by master key version 1, the settings hold 2"),
    (replace(ROTATED, masters=(OTHER, SECOND)), "is not the one that wrapped it"),
    (replace(ENCRYPTION, store_secret=None), "hold no store secret"),
]


@pytest.mark.parametrize(("encryption", "message"), WRONG)
def test_a_writer_with_other_keys_is_refused_before_it_writes(
    open_with: Open, tmp_path: Path, encryption: EncryptionSettings, message: str
) -> None:
    """Keys under a number that is taken would make others' files unreadable: nothing changes on any endpoint."""
    open_with(ENCRYPTION).put_bytes("text", TEXT)
    before = files_below(tmp_path)
    with pytest.raises(KeyMissing, match=message):
        open_with(encryption).put_bytes("text", TEXT)

    assert before == files_below(tmp_path)


def test_a_reader_s_settings_read(open_with: Open) -> None:
    """A model server holds master keys and no store secret."""
    entry = open_with(ENCRYPTION).put_bytes("text", TEXT)

    assert open_with(replace(ENCRYPTION, store_secret=None)).read(entry) == TEXT


def test_the_newer_of_two_versions_is_written_and_both_are_read(open_with: Open) -> None:
    """While a new version spreads, files of either version are readable by who holds both."""
    old = open_with(ENCRYPTION).put_bytes("old", TEXT)
    store = open_with(ROTATED)
    new = store.put_bytes("new", TEXT * 2)

    assert (store.read(old), store.read(new)) == (TEXT, TEXT * 2)
    assert get_at(store, "site_a", key_of(new, 1)) is None
    assert decode_wrapped(key_of(new, 2), get_at(store, "site_a", key_of(new, 2))) is not None


@pytest.mark.parametrize("rot", [b"", b"rotten", None])
def test_a_damaged_wrapped_key_is_read_from_another_endpoint(
    open_with: Open, tmp_path: Path, rot: bytes | None
) -> None:
    """Cut, changed or gone on two endpoints: the third opens the file."""
    store = open_with(ENCRYPTION)
    entry = store.put_bytes("text", TEXT)
    for name in ("site_a", "site_b"):
        (path,) = (path for path in (tmp_path / name).rglob(entry.stored_sha256) if path.parent.parent.name == "key")
        path.unlink() if rot is None else path.write_bytes(rot)

    assert open_with(ENCRYPTION).read(entry) == TEXT


def test_a_key_of_another_object_is_passed_over(open_with: Open) -> None:
    """Whole, wrapped by the right master, and another file's: the bytes do not open with it, the next endpoint's do."""
    store = open_with(ENCRYPTION)
    entry, other = store.put_bytes("text", TEXT), store.put_bytes("other", TEXT * 2)
    foreign = decode_wrapped(key_of(other), get_at(store, "site_a", key_of(other)))
    assert foreign is not None
    put_at(store, "site_a", key_of(entry), replace(foreign, name=entry.stored_sha256).encode())

    assert store.read(entry) == TEXT


def test_a_wrapped_key_lost_everywhere_is_said(open_with: Open) -> None:
    """No endpoint has a whole one: no retry helps. With one away it may be there: try again."""
    store = open_with(ENCRYPTION)
    entry = store.put_bytes("text", TEXT)
    for name in ("site_a", "site_b"):
        put_at(store, name, key_of(entry), b"rotten")
    with_one_away = open_with(ENCRYPTION)
    make_flaky(with_one_away, "site_c", Fault(verb="get", key="key/", kind="refuse", times=-1))
    with pytest.raises(QuorumLost, match="site_c"):
        with_one_away.read(entry)
    put_at(store, "site_c", key_of(entry), b"rotten")

    with pytest.raises(AllCopiesDamaged):
        store.read(entry)


def test_putting_again_mends_a_damaged_wrapped_key(open_with: Open) -> None:
    """What is written again lies there whole again."""
    store = open_with(ENCRYPTION)
    entry = store.put_bytes("text", TEXT)
    for name in SITES:
        put_at(store, name, key_of(entry), b"rotten")
        put_at(store, name, wrapped_key(1, "check"), b"rotten")

    assert open_with(ENCRYPTION).put_bytes("text", TEXT) == entry
    assert open_with(ENCRYPTION).read(entry) == TEXT


def test_an_object_counts_only_with_its_key(open_with: Open) -> None:
    """Where the key cannot be written the object is not written either, and such an endpoint does not acknowledge."""
    store = open_with(ENCRYPTION)
    store.put_bytes("first", b"proves the keys")
    faults = [Fault(verb="put", key="/key/", kind="refuse", times=2) for _ in range(2)]
    for name, fault in zip(("site_b", "site_c"), faults, strict=True):
        make_flaky(store, name, fault)
    with pytest.raises(QuorumLost):
        store.put_bytes("text", TEXT)

    assert [fault.fired for fault in faults] == [2, 2]
    assert store.copies(store.put_bytes("text", TEXT)) == 3


def test_keys_and_objects_survive_the_loss_of_one_endpoint(open_with: Open) -> None:
    """Any two endpoints open every acknowledged file."""
    store = open_with(ENCRYPTION)
    make_flaky(store, "site_a", Fault(verb="*", key="/key/", kind="lose_call"))
    entry = store.put_bytes("text", TEXT)
    for away in SITES:
        reader = open_with(ENCRYPTION)
        cut_off(reader, away)
        assert reader.read(entry) == TEXT


def test_a_resync_brings_wrapped_keys_and_passes_over_rotten_ones(open_with: Open) -> None:
    """A wiped endpoint opens files alone afterwards, though another one's copy of a key was damaged."""
    store = open_with(ENCRYPTION)
    entry = store.put_bytes("text", TEXT)
    put_at(store, "site_a", key_of(entry), b"rotten")
    done = resync(store.membership, "site_c", anew=True)
    reader = open_with(ENCRYPTION)

    assert done.lost == ()
    cut_off(reader, "site_a", "site_b")
    assert reader.read(entry) == TEXT


def test_an_entry_that_names_another_plaintext_is_refused(open_with: Open) -> None:
    """The bytes open, but are not what the manifest says: never returned."""
    store = open_with(ENCRYPTION)
    entry = store.put_bytes("text", TEXT)
    with pytest.raises(DataError, match="opens to other bytes"):
        store.read(replace(entry, sha256="0" * 64))


def test_no_key_is_shown_by_a_store(open_with: Open) -> None:
    """Neither the store nor what it holds prints a key."""
    store = open_with(ROTATED)
    shown = "".join(map(repr, (store, store.vault, store.vault.keyring, ROTATED)))

    assert not any(secret in shown for secret in (FIRST.secret, SECOND.secret, "5e" * 32))


def test_a_page_of_python_opens_a_file_without_nightshift(open_with: Open, tmp_path: Path) -> None:
    """The script of docs/storage.md, given a master key, and the wrapped key and the object as an endpoint has them."""
    page = (Path(__file__).parents[3] / "docs" / "storage.md").read_text()
    script = re.search(r"<!-- run by tests/core/storage/test_vault.py -->\n```python\n(.*?)```", page, re.DOTALL)
    assert script is not None
    content = Random(2).randbytes(CHUNK_BYTES + 77)
    entry = open_with(ENCRYPTION).put_bytes("file", content)
    paths = {path.parent.parent.name: path for path in (tmp_path / "site_a").rglob(entry.stored_sha256)}
    command = [sys.executable, "-c", script[1], FIRST.secret, str(paths["key"]), str(paths["obj"])]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)

    assert done.stdout == content
