"""The reader's cache: bounded, checked, shared; and reads that do not wait for a slow endpoint."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from operators.core.errors import QuorumLost
from operators.core.manifest import FileEntry
from operators.core.settings import CacheSettings, StorageSettings
from operators.core.storage import Store, initialise, objects, open_store
from operators.core.storage.cache import Cache
from tests.conftest import NAMES
from tests.core.storage.flaky import Fault, bring_back, cut_off, make_flaky
from tests.encryption import ENCRYPTION

KILOBYTE = 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the cache lies."""
    return tmp_path / "cache"


@pytest.fixture
def cached(storage_settings: StorageSettings, folder: Path) -> StorageSettings:
    """An initialised store of encrypted files, read through a cache of 64 KiB."""
    initialise(storage_settings, rounds=0)
    return replace(
        storage_settings, encryption=ENCRYPTION, cache=CacheSettings(folder=str(folder), bytes=64 * KILOBYTE)
    )


@pytest.fixture
def store(cached: StorageSettings) -> Iterator[Store]:
    """The store, open."""
    opened = open_store(cached)
    yield opened
    opened.close()


def objects_in(folder: Path) -> dict[str, bytes]:
    """Return what a cache holds, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}


def test_what_was_read_once_is_not_asked_of_any_endpoint(store: Store, tmp_path: Path) -> None:
    """With no endpoint giving objects a cached file is read and fetched, and another is not."""
    first, second = store.put_bytes("a", b"first"), store.put_bytes("b", b"second")
    assert store.read(first) == b"first"
    for name in NAMES:
        make_flaky(store, name, Fault(verb="get", key="/obj/", kind="refuse", times=-1))

    assert store.read(first) == b"first"
    store.fetch(first, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"first"
    with pytest.raises(QuorumLost):
        store.read(second)


def test_files_stay_encrypted(store: Store, folder: Path) -> None:
    """The cache holds what the endpoints hold, readable by this user only."""
    entry = store.put_bytes("a", b"nobody may read this")
    store.read(entry)

    held = objects_in(folder)

    assert list(held) == [entry.stored_sha256]
    assert b"nobody" not in held[entry.stored_sha256]
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("harm", [lambda data: data[:-1], lambda data: bytes([data[0] ^ 1]) + data[1:], lambda _: b""])
def test_a_rotten_copy_is_fetched_anew(store: Store, folder: Path, harm) -> None:
    """Nothing that lies there is believed: cut short, flipped or emptied, it is replaced by a good copy."""
    entry = store.put_bytes("a", b"content" * 100)
    store.read(entry)
    good = (folder / entry.stored_sha256).read_bytes()
    (folder / entry.stored_sha256).write_bytes(harm(good))

    assert store.read(entry) == b"content" * 100
    assert (folder / entry.stored_sha256).read_bytes() == good


def test_what_was_read_least_lately_goes_first(store: Store, folder: Path) -> None:
    """The bound holds after every read, and a file that is read again stays."""
    entries = [store.put_bytes(f"{number}", os.urandom(20 * KILOBYTE)) for number in range(6)]
    store.read(entries[0])
    for number, entry in enumerate(entries[1:], start=1):
        age(folder, entries[:number])
        store.read(entries[0])
        store.read(entry)
        assert sum(map(len, objects_in(folder).values())) <= 64 * KILOBYTE

    assert set(objects_in(folder)) == {entry.stored_sha256 for entry in (entries[0], *entries[-2:])}


def age(folder: Path, entries: list[FileEntry]) -> None:
    """Make what is cached ten seconds older."""
    for entry in entries:
        path = folder / entry.stored_sha256
        if path.exists():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))


def test_a_file_larger_than_the_cache_is_read_and_not_kept(store: Store, folder: Path) -> None:
    """The bound is a bound."""
    data = os.urandom(100 * KILOBYTE)
    entry = store.put_bytes("large", data)

    assert store.read(entry) == data
    assert objects_in(folder) == {}


def test_what_a_dead_process_left_is_removed(store: Store, folder: Path) -> None:
    """A fetch that was killed leaves a folder; a day later the next fetch takes it away, and not before."""
    for name, hours in {".filling-old": 25, ".filling-new": 1}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "part").write_bytes(b"half")
        os.utime(folder / name, (time.time() - hours * 3600,) * 2)

    store.read(store.put_bytes("a", b"content"))

    assert sorted(path.name for path in folder.glob(".filling-*")) == [".filling-new"]


def test_the_folder_may_be_removed_at_any_time(store: Store, folder: Path) -> None:
    """What was there is fetched anew, by a store that is open."""
    entry = store.put_bytes("a", b"content")
    store.read(entry)
    shutil.rmtree(folder)

    assert store.read(entry) == b"content"
    assert list(objects_in(folder)) == [entry.stored_sha256]


def test_processes_share_a_cache(store: Store, cached: StorageSettings, folder: Path) -> None:
    """Four processes read twelve files at once through a cache that holds three: all are right, the bound holds."""
    contents = [os.urandom(20 * KILOBYTE) for _ in range(12)]
    entries = [store.put_bytes(f"{number}", data) for number, data in enumerate(contents)]
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        answers = list(pool.map(read_all, [cached] * 4, [entries] * 4))

    assert answers == [contents] * 4
    assert 0 < sum(map(len, objects_in(folder).values())) <= 64 * KILOBYTE


def read_all(settings: StorageSettings, entries: list[FileEntry]) -> list[bytes]:
    """Read files as another process does."""
    store = open_store(settings)
    try:
        return [store.read(entry) for entry in entries]
    finally:
        store.close()


def test_a_failed_fetch_leaves_nothing(folder: Path) -> None:
    """The folder is as it was."""

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise QuorumLost("away")

    cache = Cache(CacheSettings(folder=str(folder), bytes=100))
    with pytest.raises(QuorumLost), cache.open("0" * 64, fail):
        pass
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("folder", "most"), [("relative", 1), ("/tmp/x", 0), ("/tmp/x", True), ("/tmp/x", 1.5)])
def test_senseless_settings_are_refused(folder: str, most: int) -> None:
    """The message says what is expected."""
    with pytest.raises(ValueError, match="give"):
        CacheSettings(folder=folder, bytes=most)


def test_settings_survive_their_json(cached: StorageSettings) -> None:
    """A child process is given the cache too."""
    assert StorageSettings.from_json(cached.to_json()) == cached


class Slow:
    """An endpoint's reads hang until they are let go."""

    def __init__(self, store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._go = threading.Event()
        monkeypatch.setattr(objects, "SLOW_SECONDS", 0.05)
        self.fault = Fault(verb="get", key="/obj/", kind="run", times=-1, action=self._wait)
        make_flaky(store, name, self.fault)

    def _wait(self) -> None:
        assert self._go.wait(20)

    def let_go(self) -> None:
        """Answer from now on."""
        self._go.set()


@pytest.fixture
def plain(storage_settings: StorageSettings) -> Iterator[Store]:
    """A store without a cache."""
    initialise(storage_settings, rounds=0)
    opened = open_store(storage_settings)
    yield opened
    opened.close()


def test_a_slow_endpoint_is_not_waited_for(
    storage_settings: StorageSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is asked beside it; when the slow one wakes, it writes nothing into what was fetched."""
    initialise(storage_settings, rounds=0)
    plain = open_store(storage_settings)
    data = os.urandom(300 * KILOBYTE)
    entry = plain.put_bytes("a", data)
    slow = Slow(plain, "site_a", monkeypatch)

    assert plain.read(entry) == data
    plain.fetch(entry, tmp_path / "out")
    slow.let_go()
    plain.close()

    assert slow.fault.fired == 2
    assert (tmp_path / "out").read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", *NAMES]


def test_a_slow_endpoint_is_waited_for_where_the_others_have_nothing_good(
    plain: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is away, one rotten: the slow one's copy is the file."""
    entry = plain.put_bytes("a", b"content")
    slow = Slow(plain, "site_a", monkeypatch)
    cut_off(plain, "site_b")
    line = plain.record.line("site_c")
    plain.membership.endpoints["site_c"].put(
        f"{line.incarnation}/obj/{entry.stored_sha256[:2]}/{entry.stored_sha256}", b"rotten!"
    )
    threading.Timer(0.5, slow.let_go).start()

    assert plain.read(entry) == b"content"


def test_nobody_else_is_asked_while_the_first_is_fast(plain: Store) -> None:
    """A read costs one endpoint, not all of them."""
    entry = plain.put_bytes("a", b"content")
    others = [make_flaky(plain, name, Fault(verb="get", key="/obj/", kind="refuse")) for name in ("site_b", "site_c")]

    assert plain.read(entry) == b"content"
    assert [fault.fired for endpoint in others for fault in endpoint.faults] == [0, 0]
    bring_back(plain, "site_b", "site_c")
