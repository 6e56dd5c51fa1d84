"""The rehearsal of a recovery: a backup and a kit, an empty place, every digest read, and how long all of it took."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.core.errors import AllCopiesDamaged, StorageError
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.progress import Progress, no_progress
from operators.core.recovery.back_up_platform import moment
from operators.core.recovery.backups import Moment, choose, unlock
from operators.core.recovery.copying import object_pieces, verify_all
from operators.core.recovery.database_restore import quarantine
from operators.core.recovery.inventory import DATABASE_FILE
from operators.core.recovery.kit import RecoveryKit, fingerprint
from operators.core.recovery.postgresql import ProgramsMissing, own
from operators.core.recovery.reconcile import Reconciled, reconcile
from operators.core.recovery.restore_platform import restore_platform
from operators.core.recovery.spec import DrillSpec
from operators.core.scratch import scratch_folder
from operators.core.settings import EncryptionSettings, EndpointSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store
from operators.core.storage.erasures import gone, still_kept
from operators.core.storage.graph import closure
from operators.core.storage.roots import roots

STREAM = "drill"
REVISION = 10
COPIES, ACKNOWLEDGE = 3, 2
"""Of the place that is restored into: as many as a platform has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """What came back, still there for whoever wants to ask it."""

    settings: StorageSettings
    """Of the place: three folders, with the keys that the escrow held."""
    started: float
    """On the monotonic clock."""
    facts: Mapping[str, Any]


@contextmanager
def rehearse(kit: RecoveryKit, folder: Path, now: float, progress: Progress = no_progress) -> Iterator[Rehearsal]:
    """Give the platform of the newest backup, restored into a folder and read once more, for the length of a block.

    Args:
        kit: What a keeper has; nothing else of the platform is used.
        folder: Empty; it takes three copies of everything.
        now: The time, in seconds since 1970: a loss now would cost what is younger than the backup.
        progress: Told of every object, in bytes.

    Raises:
        NightshiftError: The backup cannot be opened or restored: it is no backup.
        StorageError: The disk has no room for the copies; nothing was written.
    """
    started = time.monotonic()
    with closing(open_store(kit.backup)) as plain:
        chosen = choose(plain)
        escrow = unlock(plain, chosen.backup, kit)
        _check_room(folder, COPIES * int(plain.manifest(chosen.backup).facts["bytes"]))
    keys = escrow.store.encryption
    settings = _place(folder, keys)
    initialise(settings, rounds=0)
    own = dataclasses.replace(kit.backup, encryption=keys)
    with closing(open_store(own)) as backup, closing(open_store(settings)) as place:
        database = _database(backup, chosen.backup, folder)
        done = restore_platform(backup, place, chosen.backup, database=database, progress=progress)
        facts = {
            "backup": chosen.backup,
            "backup_at": chosen.at,
            "rpo_seconds": round(now - datetime.datetime.fromisoformat(chosen.at).timestamp(), 3),
            "key": fingerprint(kit.public_key),
            "results": done.results,
            "streams": done.streams,
            **_verify(place, progress),
            **(_reconcile(database, place, backup) if database else _recover_server(chosen, place, backup)),
        }
        yield Rehearsal(settings=settings, started=started, facts=facts)


def record_drill(store: Store, facts: Mapping[str, Any], spec: DrillSpec) -> Manifest:
    """Have a drill in the stream `drill`, held against its targets; return its manifest.

    Args:
        store: The platform's store.
        facts: Of the rehearsal, with `rto_seconds` and what was compared; or with `error`, why it came to nothing.
        spec: The targets.
    """
    stream = store.stream(STREAM)
    missed = spec.missed(facts)
    told = {
        "at": moment(store.membership.clock()),
        **facts,
        **dataclasses.asdict(spec),
        "missed": missed,
        "targets_met": not missed,
    }
    head = stream.head()
    while True:
        call = StageCall(stage="recovery_drill", revision=REVISION, spec={"after": head.sha256 if head else None})
        manifest = Manifest.of(call, Made(facts=told))
        digest = store.put_manifest(manifest)
        head = stream.append(digest, head)
        if head.manifest == digest:
            return manifest


def past_drills(store: Store, count: int) -> list[dict[str, Any]]:
    """Return the facts of the newest drills, oldest first."""
    entries = store.stream(STREAM).entries()[-count:]
    return [dict(store.manifest(entry.manifest).facts) for entry in entries]


def _check_room(folder: Path, wanted: int) -> None:
    """Return if a disk has room for what is restored: a rehearsal must not fill the disk that production is on.

    Raises:
        StorageError: It has not.
    """
    there = next(parent for parent in folder.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(there).free
    if free < wanted:
        raise StorageError(
            f"{COPIES} copies of the store take {wanted:,} bytes, {free:,} are free in {there}: make room"
        )


def _place(folder: Path, keys: EncryptionSettings | None) -> StorageSettings:
    endpoints = []
    for number in range(COPIES):
        path = folder / f"e{number}"
        path.mkdir(parents=True)
        endpoints.append(EndpointSettings(name=f"e{number}", url=path.absolute().as_uri()))
    return StorageSettings(endpoints=tuple(endpoints), acknowledge=ACKNOWLEDGE, encryption=keys)


def _database(backup: Store, digest: str, folder: Path) -> Path | None:
    names = {entry.name for entry in backup.manifest(digest).files}
    return folder / "airflow.db" if DATABASE_FILE in names else None


def _verify(place: Store, progress: Progress) -> dict[str, Any]:
    """Read everything that the place keeps once more, from the place."""
    manifests = closure(place, roots(place), progress)
    pieces = object_pieces(still_kept(manifests, gone(place)))
    if damaged := verify_all(place, pieces, progress):
        raise AllCopiesDamaged(f"{len(damaged)} objects do not read back in the restored place, {damaged[0]} first")
    return {"verified_objects": len(pieces) + len(manifests), "verified_bytes": sum(pieces.values())}


def _reconcile(database: Path, place: Store, backup: Store) -> dict[str, Any]:
    return _told(reconcile(database, place, backup))


def _recover_server(chosen: Moment, place: Store, backup: Store) -> dict[str, Any]:
    """Have Airflow's PostgreSQL as it was at the cut, in a folder that goes again; or say why it is not to be had."""
    if not backup.manifest(chosen.backup).facts.get("base"):
        return {"database": False}
    with scratch_folder() as folder:
        own(folder)
        try:
            server = quarantine(backup, chosen.backup, folder / "data", datetime.datetime.fromisoformat(chosen.at))
        except ProgramsMissing as missing:
            return {"database": False, "database_skipped": str(missing)}
        return _told(server.switch(place, backup))


def _told(done: Reconciled) -> dict[str, Any]:
    return {"database": True, "cleared": len(done.cleared), "dangling": len(done.dangling)}
