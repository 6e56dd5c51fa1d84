"""Bring this machine's platform back from a backup: with a bare folder, or with what a loss has left.

While it is being restored the platform does not start: a mark in its folder says so until everything is there,
verified, and agrees with Airflow's database. A restore that was killed leaves the mark; the next one goes on.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from operators.core.progress import Progress, no_progress
from operators.core.recovery.backups import choose, unlock
from operators.core.recovery.database_restore import quarantine
from operators.core.recovery.escrow import Escrow
from operators.core.recovery.kit import RecoveryKit
from operators.core.recovery.reconcile import Reconciled, reconcile
from operators.core.recovery.restore_platform import RestoredPlatform, has_sqlite, restore_platform
from operators.core.settings import StorageSettings
from operators.core.storage import initialise, open_store
from operators.local import ports, recovery, seaweedfs, services
from operators.local.credentials import load_credentials
from operators.local.layout import Layout, PlatformError, write_private
from operators.local.serving import operator_file
from operators.local.supervisor import Supervisor, marked
from operators.local.waiting import wait_for_service

Say = Callable[[str], None]
CREDENTIALS, DRILL_KIT, LOGINS, SERVING = "credentials.json", "drill-kit.json", "logins.json", "serving.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is to come back."""

    kit: RecoveryKit
    at: datetime.datetime | None = None
    """The newest backup that is not after this; None for the newest."""
    only: str | None = None
    """A stream or a manifest's digest; None for everything."""
    postgresql: Path | None = None
    """Where Airflow's database goes as a data folder of PostgreSQL; None where it is not, or shall not come back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebuilt:
    """What came back."""

    restored: RestoredPlatform
    reconciled: Reconciled | None
    """None where there is no database of Airflow's."""


def rebuild(
    layout: Layout, environment: Mapping[str, str], wish: Wish, say: Say, progress: Progress = no_progress
) -> Rebuilt:
    """Have the platform's store and Airflow's database as a backup has them; what is younger than it stays.

    Args:
        layout: Where the platform's state lies, or will.
        environment: Says where ports are to be, if not in their usual places.
        wish: Which backup, and how much of it.
        say: Told what is being done.
        progress: Told of every object, in bytes.

    Raises:
        PlatformError: The platform is up, or a store does not start.
        NightshiftError: The backup is damaged, not this platform's, or sealed for another kit: nothing was restored.
    """
    if Supervisor(layout).is_up() or marked(layout):
        raise PlatformError("the platform is up: `make stop` first, so that nobody writes what is being restored")
    began = time.time()
    layout.make()
    placed = ports.load(layout, environment)
    ports.check_free(placed)
    with _own_backup(layout, placed, environment, wish.kit):
        say("opening the backup")
        with closing(open_store(wish.kit.backup)) as plain:
            chosen = choose(plain, wish.at)
            escrow = unlock(plain, chosen.backup, wish.kit)
        _put_secrets(layout, escrow)
        with _stores(layout, placed, environment) as settings:
            say(f"restoring the backup of {chosen.at}")
            rebuilt = _restore(layout, settings, wish, escrow, chosen.backup, progress)
    # Last: a certificate that it names may be missing on this machine, which the next start says.
    if SERVING in escrow.files and not operator_file(layout).exists():
        write_private(operator_file(layout), escrow.files[SERVING])
    write_private(layout.restored, f"{began}\n")
    layout.restoring.unlink()
    return rebuilt


def _restore(
    layout: Layout, settings: StorageSettings, wish: Wish, escrow: Escrow, digest: str, progress: Progress
) -> Rebuilt:
    keyed = dataclasses.replace(wish.kit.backup, encryption=escrow.store.encryption)
    database = layout.airflow_database
    initialise(settings)
    with closing(open_store(keyed)) as backup, closing(open_store(settings)) as store:
        wanted = database if wish.only is None and not database.exists() and has_sqlite(backup, digest) else None
        server = wish.postgresql and quarantine(backup, digest, wish.postgresql, wish.at, progress)
        done = restore_platform(
            backup,
            store,
            digest,
            only=wish.only,
            database=wanted,
            progress=progress,
            before_writing=lambda: write_private(layout.restoring, digest + "\n"),
        )
        if server:
            return Rebuilt(restored=done, reconciled=server.switch(store, backup))
        return Rebuilt(restored=done, reconciled=reconcile(database, store, backup) if database.exists() else None)


def _put_secrets(layout: Layout, escrow: Escrow) -> None:
    """Have the platform's secrets in a bare folder; those of a platform that has some stay."""
    if CREDENTIALS not in escrow.files:
        raise PlatformError(f"the backup's secrets hold no {CREDENTIALS}: it is of a platform that runs otherwise")
    wanted = {layout.secrets / CREDENTIALS: escrow.files[CREDENTIALS]}
    for name, path in ((DRILL_KIT, layout.drill_kit), (LOGINS, layout.logins)):
        if name in escrow.files:
            wanted[path] = escrow.files[name]
    # Without these the next backup would be sealed for the drill alone.
    wanted |= {layout.recovery_keys / f"{name}.pub": key + "\n" for name, key in escrow.recipients.items()}
    for path, text in wanted.items():
        if not path.exists():
            write_private(path, text)


@contextmanager
def _own_backup(
    layout: Layout, placed: Mapping[str, int], environment: Mapping[str, str], kit: RecoveryKit
) -> Iterator[None]:
    """Have the backup store up for the length of a block, where it is one of this folder."""
    (endpoint, *others) = kit.backup.endpoints
    own = endpoint.name == seaweedfs.BACKUP and (layout.endpoints / seaweedfs.BACKUP).is_dir()
    if others or not own or urlsplit(endpoint.endpoint_url or "").port != placed[f"{seaweedfs.BACKUP}-s3"]:
        yield
        return
    write_private(
        seaweedfs.identities_file(seaweedfs.BACKUP, layout),
        seaweedfs.identities(str(endpoint.access_key), str(endpoint.secret_key)),
    )
    with _running(layout, placed, environment, [seaweedfs.BACKUP]):
        yield


@contextmanager
def _stores(layout: Layout, placed: Mapping[str, int], environment: Mapping[str, str]) -> Iterator[StorageSettings]:
    """Have the three endpoints up for the length of a block."""
    credentials = load_credentials(layout)
    # The stores alone: nothing that an operator settled for the servers may stand in a restore's way.
    seaweedfs.configure(layout, credentials)
    recovery.configure(layout, seaweedfs.backup_settings(placed, credentials), credentials)
    ports.save(layout, placed)
    names = [name for name in ports.STORES if name != seaweedfs.BACKUP]
    with _running(layout, placed, environment, names):
        yield seaweedfs.store_settings(layout, placed, credentials)


@contextmanager
def _running(
    layout: Layout, placed: Mapping[str, int], environment: Mapping[str, str], names: Sequence[str]
) -> Iterator[None]:
    """Have some services up for the length of a block; the last block ends the supervisor."""
    supervisor = Supervisor(layout)
    is_first = not supervisor.is_up()
    known = services.stores(layout, placed)
    if is_first:
        supervisor.boot(known, environment)
    try:
        supervisor.start(names)
        for service in known:
            if service.name in names:
                wait_for_service(supervisor, layout, service)
        yield
    finally:
        if is_first:
            supervisor.shut_down()
        else:
            supervisor.stop(names)
