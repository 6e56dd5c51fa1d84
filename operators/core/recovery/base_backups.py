"""Base backups of Airflow's PostgreSQL on the backup store, and a database made of one and the archived log.

The stream `database` there has an entry a base backup. Each holds the log that it needs for itself; what came after it
is in the archive of the log. A backup of the platform, which is signed, names the one that belongs to it.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from operators.core.errors import DataError
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.progress import Progress, no_progress
from operators.core.recovery import wal
from operators.core.recovery.postgresql import (
    PostgresServer,
    check_base,
    connected,
    own,
    replay,
    serving,
    take_base,
)
from operators.core.scratch import scratch_folder
from operators.core.storage import Store
from operators.core.storage.objects import write_file

REVISION = 3
STAGE = "base_backup"
STREAM = "database"
"""On the backup store: base backups of Airflow's database, the newest last."""
_BASE, _LIST = "base.tar.zst", "backup_manifest"
_LABEL = re.compile(r"START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)")


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseBackup:
    """One base backup, by its manifest."""

    digest: str
    manifest: Manifest

    @property
    def system(self) -> str:
        """Number of the database, as in the archive of its log."""
        return str(self.manifest.facts["system"])

    @property
    def start(self) -> str:
        """The first segment of the log that it needs."""
        return str(self.manifest.facts["start"])

    @property
    def whole_at(self) -> datetime.datetime:
        """From when on it is a database: the moments before are an older one's."""
        return datetime.datetime.fromisoformat(str(self.manifest.facts["whole_at"]))


def make_base(backup: Store, server: PostgresServer) -> BaseBackup:
    """Have a base backup of a running server on the backup store, read back, as the newest of its stream.

    Raises:
        ProgramsMissing: There is no `pg_basebackup` here.
        SourceUnavailable: The server is away, or refuses.
    """
    stream = backup.stream(STREAM)
    head = stream.head()
    with scratch_folder() as folder:
        taken = folder / "taken"
        take_base(server, taken)
        now = datetime.datetime.fromtimestamp(backup.membership.clock(), datetime.UTC)
        told = _read_base(taken / "base.tar")
        packed = folder / _BASE
        with (taken / "base.tar").open("rb") as source, packed.open("wb") as target:
            zstandard.ZstdCompressor(level=3).copy_stream(source, target)
        (taken / "base.tar").unlink()
        files = backup.put_files([(_BASE, packed), (_LIST, taken / _LIST)])
        for entry in files:
            backup.fetch(entry, folder / "read back")
    facts = {**told, "whole_at": now.isoformat(), "user": server.user, "database": server.database}
    call = StageCall(stage=STAGE, revision=REVISION, spec={"after": head.sha256 if head else None})
    manifest = Manifest.of(call, Made(files=files, facts=facts))
    digest = backup.put_manifest(manifest)
    while stream.append(digest, head).manifest != digest:
        head = stream.head()
    return BaseBackup(digest=digest, manifest=manifest)


def newest_base(backup: Store) -> BaseBackup | None:
    """Return the newest base backup, None where there is none."""
    head = backup.stream(STREAM).head()
    return None if head is None else base_of(backup, head.manifest)


def base_of(backup: Store, digest: str) -> BaseBackup:
    """Return the base backup of a manifest."""
    return BaseBackup(digest=digest, manifest=backup.manifest(digest))


def rebuild_database(
    backup: Store,
    base: BaseBackup,
    folder: Path,
    at: datetime.datetime | None = None,
    progress: Progress = no_progress,
) -> None:
    """Have a data folder with the database as it was at a moment, on a timeline of its own, shut down.

    Args:
        backup: The backup store, with its keys.
        base: Where to begin.
        folder: What is there of a restore that was killed is removed.
        at: The moment; None for the end of the archived log. Before the base was whole, it is the base itself.
        progress: Told of what is fetched.

    Raises:
        AllCopiesDamaged: A piece is lost.
        DataError: The log has a gap before that moment, or cannot be replayed.
        ProgramsMissing: PostgreSQL of that version is not installed here.
    """
    names = [name for name in wal.archived_names(backup, base.system) if wal.is_replayed(name, base.start)]
    files = wal.read_archive(backup, base.system, names)
    gap = wal.gap_in(files)
    if gap and at is None:
        raise DataError(f"the archived log breaks off after {gap}, and goes on later: name a moment before that")
    shutil.rmtree(folder, ignore_errors=True)
    version = str(base.manifest.facts["version"])
    with scratch_folder() as scratch:
        log = scratch / "log"
        log.mkdir()
        wal.fetch_log(backup, files, log, progress)
        _unpack(backup, base, folder, scratch)
        for path in (scratch, log, *log.iterdir()):
            own(path)
        if replay(folder, log, version, _target(base, at)):
            return
        if gap:
            raise DataError(f"the archived log breaks off after {gap}, before that moment: name an earlier one")
        # Nothing was written after that moment: all that there is, is what it was then.
        replay(folder, log, version, {})


@contextmanager
def opened_database(base: BaseBackup, folder: Path) -> Iterator[Any]:
    """Give a connection to a database that was rebuilt, which nobody else has open; committed at the block's end."""
    facts = base.manifest.facts
    with (
        serving(folder, str(facts["version"])) as socket,
        connected(socket, str(facts["database"]), str(facts["user"])) as connection,
    ):
        yield connection


def _target(base: BaseBackup, at: datetime.datetime | None) -> dict[str, str]:
    if at is None:
        return {}
    if at <= base.whole_at:
        return {"recovery_target": "immediate"}
    return {"recovery_target_time": at.astimezone(datetime.UTC).isoformat(sep=" ")}


def _read_base(path: Path) -> dict[str, str]:
    """Return what a base backup says of itself: the database's number, its version, the first segment it needs."""
    with tarfile.open(path) as archive:
        wanted = {"backup_label": "", "PG_VERSION": ""}
        system = b""
        for member in archive:
            if member.name in (*wanted, "global/pg_control"):
                content = archive.extractfile(member)
                assert content is not None
                if member.name in wanted:
                    wanted[member.name] = content.read().decode(errors="replace")
                else:
                    system = content.read(8)
    label = _LABEL.search(wanted["backup_label"])
    if label is None or len(system) < 8:
        raise DataError("pg_basebackup gave no base backup: its label or control file is missing")
    return {"system": wal.system_in(system), "version": wanted["PG_VERSION"].strip(), "start": label[1]}


def _unpack(backup: Store, base: BaseBackup, folder: Path, scratch: Path) -> None:
    """Have a base backup's files in a folder, checked by PostgreSQL's own list, owned by whom runs it."""
    for entry in base.manifest.files:
        wal.check_sealed(backup, entry)
    packed = scratch / _BASE
    backup.fetch(base.manifest.file(_BASE), packed)
    folder.mkdir(mode=0o700, parents=True)
    with (
        packed.open("rb") as source,
        zstandard.ZstdDecompressor().stream_reader(source) as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        archive.extractall(folder, filter="data")
    packed.unlink()
    write_file(folder / _LIST, iter([backup.read(base.manifest.file(_LIST))]))
    check_base(folder, str(base.manifest.facts["version"]))
    own(folder)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            own(Path(parent) / name)
