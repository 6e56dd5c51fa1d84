"""The backup of the whole platform: a consistent cut of the store and of Airflow, with the secrets in an escrow.

Airflow's database is copied first, so the store's cut holds all that the database names. What an earlier backup brought
is looked for and left where it is; a share of it is read again each time, and the drill reads all.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from operators.core.errors import StorageError
from operators.core.manifest import FileEntry, Made, Manifest, StageCall
from operators.core.progress import Progress, no_progress
from operators.core.recovery.back_up import pieces_of
from operators.core.recovery.code import pack_code
from operators.core.recovery.copying import Copied, Piece, copy_all, listed_pieces, store_keys
from operators.core.recovery.covering import cover_database
from operators.core.recovery.cut import Cut, read_cut
from operators.core.recovery.database import compressed, copied_database
from operators.core.recovery.escrow import CONNECTION, VARIABLE, Escrow, export_rows
from operators.core.recovery.inventory import CODE_FILE, DATABASE_FILE, ESCROW_FILE, INVENTORY_FILE, PLATFORM, Inventory
from operators.core.recovery.kit import fingerprint, seal
from operators.core.recovery.postgresql import PostgresServer
from operators.core.settings import StorageSettings
from operators.core.signing import SIGNED_BY, Signer
from operators.core.storage import Entry, Store
from operators.core.storage.erasures import copy_rows
from operators.core.storage.keyring import all_versions

REVISION = 10
STAGE = "back_up_platform"
RECORD = "backup"
"""The stream of what was backed up and when, in the store itself; its entries name no file."""
SHARES = 32
"""Of what was there before one such share is read again by each backup: all of it in a month of nights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a backup holds beside the store."""

    store: StorageSettings = field(repr=False)
    """The store's, with its keys: for the escrow."""
    database: Path | None = None
    """Airflow's SQLite database, where it is one."""
    server: PostgresServer | None = None
    """Airflow's PostgreSQL, where this process may reach it; else somebody beside it makes the base backups."""
    fernet_keys: tuple[str, ...] = field(repr=False, default=())
    """What Airflow encrypts connections and variables with, the current one first."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Secret files of the platform, by the name that they have in the escrow."""
    code: tuple[Path, ...] = ()
    """The folder of DAGs, then files that belong to it: the lock."""
    recipients: Mapping[str, str] = field(default_factory=dict)
    """Public halves of the recovery keys, by name. Without one the backup holds no secrets, and says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlatformBackup:
    """A backup that was announced."""

    digest: str
    manifest: Manifest


def back_up_platform(
    store: Store, backup: Store, around: Surroundings, *, signer: Signer, progress: Progress = no_progress
) -> PlatformBackup:
    """Have the platform as it is now on the backup store: what is new read back, then announced in stream `platform`.

    Args:
        store: The platform's store.
        backup: The backup store; its credentials are its own.
        around: What goes with the store.
        signer: Signs the backup, so that a restore can tell it from another's.
        progress: Told of what is read and copied.

    Raises:
        AllCopiesDamaged: Something that is kept is lost in the store; nothing is announced then.
        StorageError: A store does not answer, or another backup of the platform was made meanwhile.
    """
    stream = backup.stream(PLATFORM)
    head = stream.head()
    known = None if head is None else _inventory_of(backup, head.manifest)
    at = moment(store.membership.clock())
    postgresql = cover_database(backup, around.server)
    with _read_airflow(around) as (database, escrow):
        cut = read_cut(store, known, progress)
        copied = _copy(store, backup, cut, 0 if head is None else head.generation + 1, progress)
        copy_rows(store, backup)
        files = _put_files(backup, cut.inventory, around, database)
    call = StageCall(
        stage=STAGE,
        revision=REVISION,
        spec={"after": head.sha256 if head else None, SIGNED_BY: signer.public_key},
    )
    with unsealed(backup) as plain:
        sealed = _put_escrow(plain, escrow, tuple(around.recipients.values()))
        made = Made(files=(*files, *sealed), facts={"at": at, **_facts(cut.inventory, copied, around), **postgresql})
        manifest = Manifest.of(call, signer.sign(plain, call, made))
    digest = backup.put_manifest(manifest)
    if stream.append(digest, head).manifest != digest:
        raise StorageError(
            "another backup of the platform was announced meanwhile: this one is not needed, or try again"
        )
    _note(store, digest, manifest)
    return PlatformBackup(digest=digest, manifest=manifest)


def _inventory_of(backup: Store, digest: str) -> Inventory:
    return Inventory.decode(backup.read(backup.manifest(digest).file(INVENTORY_FILE)))


@contextmanager
def _read_airflow(around: Surroundings) -> Iterator[tuple[Path | None, Escrow]]:
    """Give a copy of the database and what goes into the escrow, for the length of a block."""
    secrets = {name: path.read_text() for name, path in around.files.items() if path.is_file()}
    if around.database is None:
        yield None, Escrow(store=around.store, files=secrets, recipients=around.recipients)
        return
    with copied_database(around.database) as copy:
        connections = export_rows(copy, "connection", CONNECTION, around.fernet_keys)
        variables = export_rows(copy, "variable", VARIABLE, around.fernet_keys)
        yield (
            copy,
            Escrow(
                store=around.store,
                files=secrets,
                recipients=around.recipients,
                connections=connections,
                variables=variables,
            ),
        )


def _copy(store: Store, backup: Store, cut: Cut, generation: int, progress: Progress) -> Copied:
    """Have every piece of the cut on the backup store; read back what is new and a share of what is not."""
    pieces = pieces_of(cut.inventory, cut.manifests)
    backup.keep(store_keys(pieces, all_versions(store.membership, store.record)))
    there = listed_pieces(store, backup, pieces)
    share = generation % SHARES
    return copy_all(store, backup, {p: n for p, n in pieces.items() if p not in there or _share(p) == share}, progress)


def _share(piece: Piece) -> int:
    return int(piece.digest[:8], 16) % SHARES


def _put_files(
    backup: Store, inventory: Inventory, around: Surroundings, database: Path | None
) -> tuple[FileEntry, ...]:
    """Hold the backup's own files and read them back."""
    files = [backup.put_bytes(INVENTORY_FILE, inventory.encode())]
    if database is not None:
        files.append(backup.put_bytes(DATABASE_FILE, compressed(database)))
    if around.code:
        files.append(backup.put_bytes(CODE_FILE, pack_code(around.code[0], around.code[1:])))
    for entry in files:
        backup.read(entry)
    return tuple(files)


def _put_escrow(plain: Store, escrow: Escrow, recipients: Sequence[str]) -> tuple[FileEntry, ...]:
    if not recipients:
        return ()
    entry = plain.put_bytes(ESCROW_FILE, seal(escrow.encode(), recipients))
    plain.read(entry)
    return (entry,)


@contextmanager
def unsealed(backup: Store) -> Iterator[Store]:
    """Give the backup store without its keys: what opens those cannot lie under them."""
    plain = Store(backup.membership)
    try:
        yield plain
    finally:
        plain.end_lease()


def moment(seconds: float) -> str:
    """Return a time since 1970 as a backup tells it: UTC, in an order that is that of the texts."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")


def _facts(inventory: Inventory, copied: Copied, around: Surroundings) -> dict[str, object]:
    return {
        "manifests": len(inventory.manifests),
        "objects": len(inventory.objects),
        "bytes": sum(inventory.objects.values()),
        "results": len(inventory.results),
        "streams": len(inventory.streams),
        "copied_objects": copied.new_pieces,
        "copied_bytes": copied.new_bytes,
        "read_back": copied.pieces,
        "read_back_bytes": copied.size_bytes,
        "database": around.database is not None,
        "sealed_for": sorted(fingerprint(key) for key in around.recipients.values()),
    }


def _note(store: Store, digest: str, manifest: Manifest) -> None:
    """Have the backup on record in the store, where everybody who may read it sees how old the last one is."""
    stream = store.stream(RECORD)
    head: Entry | None = stream.head()
    call = StageCall(stage="backup_record", revision=REVISION, spec={"backup": digest})
    record = store.put_manifest(Manifest.of(call, Made(facts=manifest.facts)))
    while head is None or head.manifest != record:
        head = stream.append(record, head)
