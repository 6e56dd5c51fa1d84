"""An endpoint in a directory: the order of its listings, what a crash leaves, and disks that are full or gone."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.manifest import sha256_hex
from operators.core.storage.directory import DirectoryEndpoint
from operators.core.storage.endpoint import EndpointAway

part = st.text(alphabet="ab-._0", min_size=1, max_size=3).filter(lambda text: text not in (".", ".."))
path = st.lists(part, min_size=1, max_size=4).map("/".join)

# Counts how often the folder of 3,000 generations is read while the newest is looked for; the events are Python's own.
GALLOP = """
import sys
from pathlib import Path
from operators.core.storage.directory import DirectoryEndpoint

endpoint, scans = DirectoryEndpoint("site_a", Path(sys.argv[1])), []
sys.addaudithook(lambda event, what: scans.append(what[0]) if event == "os.scandir" else None)
first, last = -1, 4096
while last - first > 1:
    middle = (first + last) // 2
    found = endpoint.list("log/x/", after=f"log/x/{middle - 1:020d}/~", limit=1)
    first, last = (middle, last) if found else (first, middle)
print(first, sum(str(item).endswith("log/x") for item in scans))
"""


@pytest.fixture
def endpoint(tmp_path: Path) -> DirectoryEndpoint:
    """An empty endpoint."""
    (tmp_path / "site_a").mkdir()
    return DirectoryEndpoint("site_a", tmp_path / "site_a")


@settings(max_examples=60, deadline=None)
@given(keys=st.sets(path, max_size=12), prefix=path, after=path, limit=st.none() | st.integers(0, 4))
def test_a_listing_is_the_sorted_keys_from_the_first_after(
    keys: set[str], prefix: str, after: str, limit: int | None
) -> None:
    """Any keys, prefix, `after` and limit: the same answer as from a sorted list of all keys."""
    with tempfile.TemporaryDirectory() as folder:
        endpoint, held = DirectoryEndpoint("site_a", Path(folder)), set()
        for key in keys:
            # Unlike a bucket, a folder cannot hold both `a` and `a/b`; the store never writes such keys.
            if not any(f"{key}/".startswith(f"{other}/") or f"{other}/".startswith(f"{key}/") for other in held):
                endpoint.put(key, b"x")
                held.add(key)
        for start in ("", f"{prefix}/"):
            expected = sorted(key for key in held if key.startswith(start) and key > after)[:limit]

            assert expected == [found.key for found in endpoint.list(start, after=after, limit=limit)]


def test_looking_for_the_newest_generation_reads_a_big_folder_once(endpoint: DirectoryEndpoint) -> None:
    """Thirteen questions about 3,000 generations read the names in their folder at most twice."""
    for number in range(3000):
        (endpoint.folder / "log" / "x" / f"{number:020d}").mkdir(parents=True)
        (endpoint.folder / "log" / "x" / f"{number:020d}" / "1").write_bytes(b"x")
    time.sleep(0.15)
    command = [sys.executable, "-c", GALLOP, str(endpoint.folder)]
    newest, scans = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    assert newest == "2999"
    assert int(scans) <= 2


def test_a_new_name_in_a_big_folder_is_listed_at_once(endpoint: DirectoryEndpoint) -> None:
    """What is remembered of a folder is forgotten with its first change, also one by another process."""
    another = DirectoryEndpoint("site_a", endpoint.folder)
    for number in range(2000):
        (endpoint.folder / f"k{number:050d}").write_bytes(b"x")
    time.sleep(0.15)
    for number in range(5):
        before = len(endpoint.list(""))
        another.put(f"new{number}", b"x")

        assert len(endpoint.list("")) == before + 1


def test_what_is_no_key_is_not_listed(endpoint: DirectoryEndpoint) -> None:
    """The folder of half-written files and `lost+found` are not ours to show."""
    endpoint.put("a/b", b"x")
    (endpoint.folder / "lost+found").mkdir()
    (endpoint.folder / "lost+found" / "x").write_bytes(b"x")

    assert [found.key for found in endpoint.list("")] == ["a/b"]


def test_half_written_files_of_the_dead_are_removed(endpoint: DirectoryEndpoint) -> None:
    """Old and unlocked: removed by the next writer. New, or locked by one that still writes: kept."""
    endpoint.put("first", b"x")
    incoming = endpoint.folder / "+incoming"
    for name in ("dead", "young", "writing"):
        (incoming / name).write_bytes(b"half")
        if name != "young":
            os.utime(incoming / name, (time.time() - 7200,) * 2)
    with (incoming / "writing").open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        DirectoryEndpoint("site_a", endpoint.folder).put("second", b"x")

    assert {"young", "writing"} == {path.name for path in incoming.iterdir()}


def test_a_file_is_put_fetched_and_hashed_in_pieces(endpoint: DirectoryEndpoint, tmp_path: Path) -> None:
    """Larger than one piece: bytes and digest are the same; an absent key is None."""
    content = os.urandom(3 * 1024 * 1024 + 7)
    (tmp_path / "in").write_bytes(content)
    endpoint.put("a/b", tmp_path / "in")

    assert endpoint.digest("a/b") == sha256_hex(content)
    with (tmp_path / "out").open("wb") as target:
        assert endpoint.fetch("a/b", target) == sha256_hex(content)
    assert (tmp_path / "out").read_bytes() == content
    assert endpoint.digest("a/c") is None
    assert endpoint.fetch("a/c", io.BytesIO()) is None


def test_a_missing_folder_is_an_endpoint_that_is_away(endpoint: DirectoryEndpoint) -> None:
    """A mount that is not there must not look empty: every verb says so, and nothing makes the folder."""
    endpoint.folder.rmdir()

    for ask in (endpoint.get, endpoint.size, endpoint.digest, endpoint.list, endpoint.delete):
        with pytest.raises(EndpointAway, match="is not there"):
            ask("a/b")
    with pytest.raises(EndpointAway, match="is not there"):
        endpoint.put("a/b", b"x")
    assert not endpoint.put_if_absent("a/b", b"x")
    assert not endpoint.folder.exists()


def test_an_empty_value_is_no_value(endpoint: DirectoryEndpoint) -> None:
    """What decides something has bytes."""
    with pytest.raises(ValueError, match="empty"):
        endpoint.put_if_absent("a", b"")


def test_a_name_where_a_folder_must_be_is_absent_or_refused(endpoint: DirectoryEndpoint) -> None:
    """`a` is a file: `a/b` is absent, and writing it is refused with a message."""
    endpoint.put("a", b"x")

    assert endpoint.get("a/b") is None
    with pytest.raises(EndpointAway, match="cannot write a/b"):
        endpoint.put("a/b", b"x")


def test_a_file_that_changes_while_it_is_stored_is_refused(endpoint: DirectoryEndpoint, tmp_path: Path) -> None:
    """Another process appends to it while it is read: the key does not appear."""
    source = tmp_path / "growing"
    source.write_bytes(b"x" * (64 << 20))
    growing = subprocess.Popen(["sh", "-c", 'while :; do printf x >> "$0"; done', str(source)])
    try:
        with pytest.raises(ValueError, match="was changed"):
            endpoint.put("a", source)
    finally:
        growing.kill()
        growing.wait()
    assert endpoint.get("a") is None
