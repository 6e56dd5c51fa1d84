"""Directories on a disk that is full at every write, or read-only: clear errors, nothing half-done, and on again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from operators.core.errors import PrimaryAway, QuorumLost, StorageError
from operators.core.manifest import Made, StageCall
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store
from operators.core.storage.directory import DirectoryEndpoint
from operators.core.storage.endpoint import EndpointAway
from tests.faults.catalogue import LEDGER, Kind

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

PAGE = 4096
CALL = StageCall(stage="ingest", revision=1, spec={"x": 1})
Mount = Callable[[str, str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount small file systems in memory; where that is not allowed, say so and skip."""
    mounted: list[Path] = []

    def make(name: str, options: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
        )
        if done.returncode != 0:
            why = f"a small disk cannot be mounted ({done.stderr.strip() or 'not root'})"
            LEDGER.excused |= {Kind.FULL_DISK: why, Kind.READ_ONLY: why}
            pytest.skip(why)
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, free: int) -> Path:
    """Leave so many bytes free on a file system; return the file that takes the rest."""
    ballast = folder / "+ballast"
    state = os.statvfs(folder)
    with ballast.open("wb") as handle:
        os.posix_fallocate(handle.fileno(), 0, max(1, state.f_bavail * state.f_frsize - free))
    return ballast


@pytest.mark.parametrize("conditional", [False, True])
def test_a_full_disk_at_every_page_of_a_write(mount: Mount, conditional: bool) -> None:
    """From no page free to enough: refused with `No space left`, nothing left behind, and done once there is room."""
    folder = mount("site_a", "size=256k")
    endpoint = DirectoryEndpoint("site_a", folder)
    endpoint.put("earlier/key", b"earlier")
    content = os.urandom(6 * PAGE)
    refused = 0
    while True:
        key = f"run/{refused}/1"
        ballast = fill(folder, refused * PAGE)
        try:
            done = endpoint.put_if_absent(key, content) if conditional else endpoint.put(key, content) is None
        except EndpointAway as error:
            assert "No space left on device; make room" in str(error)  # noqa: PT017
            done = False
        assert endpoint.get(key) == (content if done else None)
        assert list((folder / "+incoming").iterdir()) == []
        assert endpoint.get("earlier/key") == b"earlier"
        ballast.unlink()
        if done:
            break
        refused += 1
        endpoint.put(key, content)
        assert endpoint.get(key) == content
        endpoint.delete(key)
    LEDGER.note(Kind.FULL_DISK, "EndpointAway", fired=refused)

    assert refused >= 6


def test_a_disk_without_room_for_names(mount: Mount) -> None:
    """Inodes run out at every folder and file of a new key: refused, nothing left, and done once there is room."""
    folder = mount("site_a", "size=1m,nr_inodes=40")
    endpoint = DirectoryEndpoint("site_a", folder)
    endpoint.put("earlier/key", b"earlier")
    refused = 0
    for free in range(8):
        state = os.statvfs(folder)
        for number in range(state.f_ffree - free):
            (folder / f"+{number}").touch()
        try:
            endpoint.put(f"a{free}/b/c/key", b"x")
        except EndpointAway as error:
            assert "No space left" in str(error)  # noqa: PT017
            refused += 1
            assert list((folder / "+incoming").iterdir()) == []
        for path in folder.glob("+[0-9]*"):
            path.unlink()
        endpoint.put(f"a{free}/b/c/key", b"x")
        shutil.rmtree(folder / f"a{free}")
    LEDGER.note(Kind.FULL_DISK, "EndpointAway", fired=refused)

    assert 4 <= refused < 8


@pytest.fixture
def small_store(mount: Mount) -> tuple[Store, dict[str, Path]]:
    """A store of three small disks."""
    folders = {name: mount(name, "size=512k") for name in ("site_a", "site_b", "site_c")}
    endpoints = tuple(EndpointSettings(name=name, url=f"file://{folder}") for name, folder in folders.items())
    settings = StorageSettings(endpoints=endpoints, acknowledge=2)
    initialise(settings, rounds=0)
    return open_store(settings), folders


@pytest.mark.parametrize(
    ("full", "error"),
    [(("site_c",), None), (("site_a",), PrimaryAway), (("site_b", "site_c"), QuorumLost)],
    ids=["one", "primary", "two"],
)
def test_a_store_with_full_disks(
    small_store: tuple[Store, dict[str, Path]],
    full: tuple[str, ...],
    error: type[StorageError] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One that is not the primary stops nothing; else it is refused clearly, and goes on once there is room."""
    store, folders = small_store
    earlier = store.put_bytes("earlier.bin", b"earlier")
    ballast = [fill(folders[name], 0) for name in full]

    def work() -> str:
        return store.once(CALL, lambda: Made(files=(store.put_bytes("x.bin", b"content" * 2000),))).digest

    if error is None:
        work()
        LEDGER.note(Kind.FULL_DISK, "survived")
    else:
        with pytest.raises(error):
            work()
        LEDGER.note(Kind.FULL_DISK, error.__name__)
    assert "No space left on device; make room there" in caplog.text
    assert store.read(earlier) == b"earlier"
    for path in ballast:
        path.unlink()
    digest = work()

    assert digest == work()
    assert store.copies(store.manifest(digest).file("x.bin")) >= 2
    for folder in folders.values():
        assert list((folder / "+incoming").iterdir()) == []


def test_a_read_only_disk_is_read_and_not_written(mount: Mount) -> None:
    """Mounted read-only in the middle: reads and listings go on, writes are refused with what to do."""
    folder = mount("site_a", "size=256k")
    endpoint = DirectoryEndpoint("site_a", folder)
    endpoint.put("a/b", b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)

    assert endpoint.get("a/b") == b"x"
    assert [found.key for found in endpoint.list("")] == ["a/b"]
    for write in (lambda: endpoint.put("a/c", b"y"), lambda: endpoint.delete("a/b"), endpoint.clock):
        with pytest.raises(EndpointAway, match="Read-only file system; mount it for writing"):
            write()
    assert not endpoint.put_if_absent("a/c", b"y")
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    LEDGER.note(Kind.READ_ONLY, "EndpointAway", fired=4)

    assert endpoint.put_if_absent("a/c", b"y")
