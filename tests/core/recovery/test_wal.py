"""The archive of PostgreSQL's log: a file once, whole, under the store's keys, for as long as a backup needs it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from operators.core.errors import AllCopiesDamaged, DataError
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.recovery import base_backups, wal
from operators.core.recovery.back_up_platform import STAGE
from operators.core.recovery.base_backups import base_of, rebuild_database
from operators.core.recovery.inventory import INVENTORY_FILE, PLATFORM, Inventory
from operators.core.recovery.retention import needed
from operators.core.recovery.spec import RetentionSpec
from operators.core.storage import Store
from operators.core.storage.collect import Collector
from operators.core.storage.collection import CollectSpec
from tests.core.recovery.conftest import append, new_store
from tests.core.recovery.test_platform_backup import age
from tests.core.recovery.test_recovery import files_of
from tests.encryption import ENCRYPTION

SYSTEM = "7300000000000000001"
WHOLE = bytes(16 * 1024**2)
"""A segment of the usual size."""


def segment(number: int, timeline: int = 1) -> str:
    """Return the name of a segment of 16 MiB."""
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def put(backup: Store, folder: Path, *names: str, content: bytes = b"") -> None:
    """Archive small files under these names."""
    for name in names:
        (folder / name).write_bytes(content or name.encode() * 9)
        wal.archive_file(backup, SYSTEM, folder / name)


def base_at(backup: Store, number: int, at: str = "2026-11-01T00:00:00+00:00") -> str:
    """Have a base backup there that needs the log from a segment on; return its digest."""
    file = backup.put_bytes("base.tar.zst", b"base %d" % number)
    facts = {"system": SYSTEM, "start": segment(number), "version": "15", "whole_at": at}
    call = StageCall(stage=base_backups.STAGE, revision=1, spec={"number": number})
    digest = backup.put_manifest(Manifest.of(call, Made(files=(file,), facts=facts)))
    append(backup, base_backups.STREAM, digest)
    return digest


def platform_at(backup: Store, day: int, base: str, log: str) -> None:
    """Have a backup of a platform there that was made on a day, with a base backup and a log up to a segment."""
    empty = Inventory(release=None, manifests=(), objects={}, results={}, streams={})
    files = (backup.put_bytes(INVENTORY_FILE, empty.encode()),)
    facts = {"at": f"2026-11-{day:02d}T03:30:00.000+00:00", "base": base, "log": log}
    call = StageCall(stage=STAGE, revision=1, spec={"day": day})
    append(backup, PLATFORM, backup.put_manifest(Manifest.of(call, Made(files=files, facts=facts))))


def test_a_file_is_archived_once(backup: Store, tmp_path: Path) -> None:
    """PostgreSQL may ask again after a crash: nothing is written, and the same file comes back."""
    put(backup, tmp_path, segment(1))
    before = files_of(backup)
    put(backup, tmp_path, segment(1))
    found = wal.read_archive(backup, SYSTEM, wal.archived_names(backup, SYSTEM))
    (tmp_path / "log").mkdir()
    wal.fetch_log(backup, found, tmp_path / "log")

    assert {path for path in files_of(backup) if "pin" not in path.parts} <= set(before)
    assert (tmp_path / "log" / segment(1)).read_bytes() == (tmp_path / segment(1)).read_bytes()


def test_a_segment_that_is_nearly_empty_takes_no_room(backup: Store, tmp_path: Path) -> None:
    """A day has more than a thousand of them, of 16 MiB each: neither in the archive, nor where it is fetched to."""
    content = b"a record" + bytes(3 * 1024**2) + b"another" + WHOLE[: -3 * 1024**2 - 15]
    put(backup, tmp_path, segment(1), content=content)
    found = wal.read_archive(backup, SYSTEM, [segment(1)])
    (tmp_path / "log").mkdir()
    wal.fetch_log(backup, found, tmp_path / "log")
    fetched = tmp_path / "log" / segment(1)

    assert found[0].file.stored_bytes < 2000
    assert fetched.read_bytes() == content
    assert fetched.stat().st_blocks * 512 < 1024**2


def test_another_content_is_never_written_over_it(backup: Store, tmp_path: Path) -> None:
    """Two servers that write the log of one database: the second is told, and the first one's file stays."""
    put(backup, tmp_path, segment(1))

    with pytest.raises(DataError, match=f"holds another {segment(1)}"):
        put(backup, tmp_path, segment(1), content=b"of another server")
    (found,) = wal.read_archive(backup, SYSTEM, [segment(1)])
    assert found.bytes == len(segment(1) * 9)


def test_a_base_backup_of_who_has_no_keys_is_not_unpacked(tmp_path: Path) -> None:
    """Whoever may write to an encrypted backup store can put files there in the open, and name them in the stream."""
    store = new_store(tmp_path / "b", 1, 1, ENCRYPTION)
    forged = base_at(Store(store.membership), 2)

    with pytest.raises(DataError, match="zst lies open"):
        rebuild_database(store, base_of(store, forged), tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["postgresql.conf", "0000000100000000000000", "00000001.history.tmp"])
def test_only_files_of_a_log_are_archived(backup: Store, tmp_path: Path, name: str) -> None:
    """A wrong `archive_command` is told what to pass."""
    with pytest.raises(DataError, match="passes %p"):
        put(backup, tmp_path, name)


def test_nothing_of_the_log_lies_open(tmp_path: Path) -> None:
    """On an encrypted backup store, and what somebody else put there in the open is refused."""
    store = new_store(tmp_path / "b", 1, 1, ENCRYPTION)
    content = b"Ada Lovelace " * 99
    put(store, tmp_path, segment(1), content=content)
    (found,) = wal.read_archive(store, SYSTEM, [segment(1)])
    opened = dataclasses.replace(found.file, stored_sha256=found.file.sha256, stored_bytes=found.file.bytes)

    assert not any(b"Ada Lovelace" in path.read_bytes() for path in files_of(store))
    with pytest.raises(DataError, match="did not put it there"):
        wal.fetch_log(store, [dataclasses.replace(found, file=opened)], tmp_path)


def test_a_log_with_a_gap_or_a_lost_file_gives_no_database(backup: Store, tmp_path: Path) -> None:
    """PostgreSQL would stop at the gap and say nothing: refused by the name of the segment before anything is made."""
    names = [segment(number) for number in (254, 255, 256, 258)]
    put(backup, tmp_path, *names, content=WHOLE)
    base = base_of(backup, base_at(backup, 254))

    with pytest.raises(DataError, match=f"breaks off after {segment(256)}"):
        rebuild_database(backup, base, tmp_path / "data")
    put(backup, tmp_path, segment(257, timeline=2), content=b"2" + WHOLE[1:])
    (lost,) = wal.read_archive(backup, SYSTEM, [segment(257, timeline=2)])
    next(path for path in files_of(backup) if path.name == lost.file.stored_sha256).write_bytes(b"rotten")
    with pytest.raises(AllCopiesDamaged, match=lost.file.stored_sha256):
        rebuild_database(backup, base, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_retention_keeps_the_log_that_kept_backups_need(backup: Store, tmp_path: Path) -> None:
    """Of old backups up to their own cut, of the last days and of the newest base all; what lies between goes."""
    put(backup, tmp_path, *(segment(number) for number in range(1, 13)), "00000002.history")
    first, second, third = base_at(backup, 2), base_at(backup, 6), base_at(backup, 9)
    platform_at(backup, 1, first, segment(3))
    platform_at(backup, 9, second, segment(7))
    platform_at(backup, 10, third, segment(10))
    backup.end_lease()
    age(backup)
    spec = RetentionSpec(daily=1, weekly=2, monthly=0, yearly=0)
    careful = CollectSpec(grace_seconds=0.01, skew_seconds=0.0, max_share=0.9)
    collector = Collector(backup, careful, needs=lambda held, progress: needed(held, spec, progress))
    marked = {key.rsplit("/", 1)[1] for key in collector.mark().keys if key.startswith("wal/")}

    assert marked == {segment(number) for number in (1, 4, 5, 6, 7, 8)}
    (gone,) = wal.read_archive(backup, SYSTEM, [segment(4)])
    (stays,) = wal.read_archive(backup, SYSTEM, [segment(10)])
    assert gone.file.stored_sha256 not in needed(backup, spec).objects
    assert {stays.file.stored_sha256} <= needed(backup, spec).objects


def test_a_base_backup_goes_with_the_last_backup_that_needs_it(backup: Store, tmp_path: Path) -> None:
    """Its files; its manifest stays, as that of the backup does. The newest stays though nothing names it yet."""
    old, named, newest = base_at(backup, 2), base_at(backup, 6), base_at(backup, 9)
    platform_at(backup, 1, old, segment(3))
    platform_at(backup, 8, named, segment(7))
    reached = needed(backup, RetentionSpec(daily=1, weekly=0, monthly=0, yearly=0))
    kept = [
        digest for digest in (old, named, newest) if backup.manifest(digest).files[0].stored_sha256 in reached.objects
    ]

    assert {old, named, newest} <= reached.manifests
    assert kept == [named, newest]
