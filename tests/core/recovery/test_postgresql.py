"""Airflow's PostgreSQL in backups of the platform: base backups, an archive of the log, a restore to a moment."""

from __future__ import annotations

import datetime
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from operators.cli import main
from operators.core.recovery import postgresql
from operators.core.recovery.back_up_platform import PlatformBackup, Surroundings, back_up_platform
from operators.core.recovery.base_backups import BaseBackup, make_base, opened_database, rebuild_database
from operators.core.recovery.drill import rehearse
from operators.core.recovery.inventory import INVENTORY_FILE
from operators.core.recovery.kit import RecoveryKit
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store, open_store
from operators.local.ports import free_base
from tests.airflow_database import AirflowDatabase
from tests.core.recovery.conftest import SIGNER, make_release, new_store
from tests.core.recovery.test_recovery import files_of
from tests.encryption import ENCRYPTION
from tests.postgresql import PASSWORD, Postgres, archiving, programs
from tests.runbook import ON_POSTGRESQL

pytestmark = pytest.mark.integration
(IN_THE_RUNBOOK,) = ON_POSTGRESQL
ARCHIVE_SECONDS = 55
"""`archive_timeout` as docs/recovery.md has it."""

NOTE = "CREATE TABLE dag_run (run_id TEXT, at TIMESTAMPTZ DEFAULT clock_timestamp())"


@pytest.fixture
def place(short_path: Path) -> Path:
    """A folder that PostgreSQL's account may enter, with a backup store in it."""
    programs()
    short_path.chmod(0o755)
    return short_path


@pytest.fixture
def archive(place: Path) -> Store:
    """An encrypted backup store of one endpoint."""
    return new_store(place / "backup", 1, 1, ENCRYPTION)


@pytest.fixture
def run_postgres(place: Path, archive: Store) -> Iterator[Callable[..., Postgres]]:
    """A maker of servers whose log goes to that store; all of them are ended."""
    made: list[Postgres] = []

    def make(seconds: int = ARCHIVE_SECONDS) -> Postgres:
        settings = archiving(settings_of(archive), place, seconds)
        server = Postgres(place / f"postgres{len(made)}", free_base(os.getpid() + len(made)), settings)
        made.append(server)
        server.make()
        server.start()
        return server

    yield make
    for server in made:
        server.kill()


def settings_of(store: Store) -> StorageSettings:
    """Return settings that open a store of directories again."""
    (endpoint,) = store.membership.endpoints.values()
    url = f"file://{endpoint.folder}"  # type: ignore[attr-defined]
    return StorageSettings(
        endpoints=(EndpointSettings(name=endpoint.name, url=url),), acknowledge=1, encryption=ENCRYPTION
    )


def address_of(server: Postgres) -> str:
    """Return it for SQLAlchemy; a bundle and whatever else a row belongs to need not be there."""
    lenient = "options=-csession_replication_role%3Dreplica"
    return f"postgresql+psycopg2://postgres:{PASSWORD}@127.0.0.1:{server.port}/postgres?{lenient}"


def add(server: Postgres, run_id: str) -> datetime.datetime:
    """Have one more run on record; return when it was."""
    ((at,),) = server.ask("INSERT INTO dag_run (run_id) VALUES (%s) RETURNING at", run_id)
    return at  # type: ignore[no-any-return]


def runs_in(base: BaseBackup, data: Path) -> list[str]:
    """Return the runs in a database that was rebuilt."""
    with opened_database(base, data) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT run_id FROM dag_run ORDER BY at")
        return [row[0] for row in cursor.fetchall()]


def test_a_lost_database_comes_back_to_the_last_archived_moment_and_to_any_before(
    run_postgres: Callable[..., Postgres], archive: Store, place: Path
) -> None:
    """Killed, its data folder removed: everything archived is back, and at a moment in between what was there then."""
    server = run_postgres()
    server.ask(NOTE)
    add(server, "before the base")
    base = make_base(archive, server.server)
    add(server, "first")
    time.sleep(0.05)
    between = datetime.datetime.now(datetime.UTC)
    time.sleep(0.05)
    add(server, "second")
    server.archived()
    server.lose()

    rebuild_database(archive, base, place / "all")
    assert runs_in(base, place / "all") == ["before the base", "first", "second"]
    rebuild_database(archive, base, place / "then", at=between)
    assert runs_in(base, place / "then") == ["before the base", "first"]
    rebuild_database(archive, base, place / "early", at=base.whole_at)
    assert runs_in(base, place / "early") == ["before the base"]
    rebuild_database(archive, base, place / "late", at=datetime.datetime.now(datetime.UTC))
    assert runs_in(base, place / "late") == ["before the base", "first", "second"]


@pytest.fixture
def platform(archive: Store, place: Path) -> Callable[..., PlatformBackup]:
    """Back up a small store with a server beside it, sealed for a kit that lies in `kit.json`."""
    store = new_store(place / "store", 3, 2, ENCRYPTION)
    make_release(store, "2002-09-01", b"one")
    kit = RecoveryKit.new(settings_of(archive), [SIGNER.public_key])
    (place / "kit.json").write_text(kit.to_json())

    def back_up(server: Postgres | None) -> PlatformBackup:
        around = Surroundings(
            store=settings_of(archive),
            server=server.server if server else None,
            recipients={"keeper": kit.public_key},
        )
        return back_up_platform(store, archive, around, signer=SIGNER)

    return back_up


def airflow_on(server: Postgres) -> AirflowDatabase:
    """Return Airflow's database on a server: a DAG, and a run of it from before a loss."""
    airflow = AirflowDatabase(url=address_of(server))
    airflow.add_dag("retrain_mail", "Mail")
    airflow.add_run("retrain_mail", "before")
    airflow.session.commit()
    return airflow


def restore(place: Path, *options: str) -> int:
    """Restore the platform with the kit into a bare place; return the exit status."""
    folder = place / f"target{len(list(place.glob('target*')))}"
    target = {"endpoints": [{"name": "t", "url": f"file://{folder}"}], "acknowledge": 1}
    folder.mkdir()
    (place / "target.json").write_text(json.dumps(target))
    files = ("--kit", str(place / "kit.json"), "--target-file", str(place / "target.json"))
    return main(["restore", *files, *options])


def test_a_bare_place_gets_the_platform_with_postgresql_and_the_two_agree(
    run_postgres: Callable[..., Postgres], platform: Callable[..., PlatformBackup], place: Path, capsys: Any
) -> None:
    """All runs of before the loss are there; what ran is cleared; what names lost work is marked failed and told."""
    server = run_postgres()
    airflow = airflow_on(server)
    done = platform(server)
    airflow.add_run("retrain_mail", "after", state="running", day=1)
    airflow.add_task("retrain_mail", "after", "ingest", state="running", max_tries=3)
    airflow.add_run("retrain_mail", "lost", day=2)
    airflow.add_task("retrain_mail", "lost", "publish")
    airflow.add_result("retrain_mail", "lost", "publish", "0" * 64)
    airflow.session.commit()
    airflow.close()
    server.archived()
    server.lose()

    assert done.manifest.facts["database"] is True
    assert restore(place, "--postgresql", str(place / "postgres0" / "data")) == 0
    told = capsys.readouterr().out
    server.start()
    assert server.ask("SELECT run_id, state FROM dag_run ORDER BY id") == [
        ("before", "success"), ("after", "running"), ("lost", "failed"),
    ]  # fmt: skip
    assert server.ask("SELECT task_id, state, max_tries FROM task_instance ORDER BY task_id") == [
        ("ingest", None, 4), ("publish", "success", -1),
    ]  # fmt: skip
    assert "cleared, for it ran at the cut: retrain_mail/after/ingest" in told
    assert "it names what the store does not hold: retrain_mail/lost/publish" in told
    # What was archived goes on under a timeline of its own, and so do backups.
    server.archived()
    assert platform(server).manifest.facts["log"].startswith("00000002")


def test_a_base_backup_serves_for_a_day_while_the_log_follows(
    run_postgres: Callable[..., Postgres], platform: Callable[..., PlatformBackup], archive: Store
) -> None:
    """The second backup adds its part of the log; where the log has stopped, or the day is over, a new base is made."""
    server = run_postgres()
    bases = []
    now = archive.membership.clock
    for later in (0.0, 5.0, 400.0, 21 * 3600.0):
        server.archived()
        archive.end_lease()
        archive.membership.clock = lambda later=later: now() + later  # type: ignore[misc]
        bases.append(platform(server).manifest.facts["base"])

    assert bases[0] == bases[1]
    assert len(set(bases)) == 3


def test_where_postgresql_is_not_to_be_had_the_backup_says_so(
    platform: Callable[..., PlatformBackup],
    run_postgres: Callable[..., Postgres],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    """No programs: the rest is backed up, with the reason; a restore of the database repeats it and writes nothing."""
    server = run_postgres()
    monkeypatch.setattr(postgresql, "DEBIAN", place)
    monkeypatch.setenv("PATH", str(place))
    facts = platform(server).manifest.facts

    assert (facts["database"], facts["base"]) == (False, None)
    assert "comes with Debian's package" in facts["database_skipped"]
    assert restore(place, "--postgresql", str(place / "data")) == 2
    assert "pg_basebackup is not installed here" in capsys.readouterr().err
    assert not list((place / "target0").glob("*/obj"))
    assert not (place / "data").exists()


def test_a_killed_restore_leaves_no_database_and_the_next_one_makes_it(
    run_postgres: Callable[..., Postgres], platform: Callable[..., PlatformBackup], place: Path
) -> None:
    """What a killed one left in quarantine is made anew; a folder that holds something is never written into."""
    server = run_postgres()
    AirflowDatabase(url=address_of(server)).close()
    platform(server)
    left = place / "data.restoring"
    left.mkdir()
    (left / "half").touch()

    assert restore(place, "--postgresql", str(place / "data")) == 0
    assert not left.exists()
    assert not (place / "data" / "half").exists()
    assert restore(place, "--postgresql", str(place / "data")) == 2


def wait_for_the_end_of_a_segment(server: Postgres) -> None:
    """Return three seconds before the segment that is written now is closed for its age."""

    def current() -> str:
        return str(server.ask("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[0][0])

    while True:
        before = current()
        while (segment := current()) == before:
            time.sleep(0.2)
        time.sleep(ARCHIVE_SECONDS - 3)
        if current() == segment:
            return


def kit_of(place: Path) -> RecoveryKit:
    """Return the keeper's kit."""
    return RecoveryKit.from_json((place / "kit.json").read_text())


def test_a_drill_has_the_database_of_the_cut_and_says_where_it_cannot(
    run_postgres: Callable[..., Postgres],
    platform: Callable[..., PlatformBackup],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What ran at the cut is cleared there; what came after it is not in it, and so cannot dangle."""
    server = run_postgres()
    airflow = AirflowDatabase(url=address_of(server))
    airflow.add_dag("retrain_mail", "Mail")
    airflow.add_run("retrain_mail", "at the cut", state="running")
    airflow.add_task("retrain_mail", "at the cut", "ingest", state="running")
    airflow.session.commit()
    platform(server)
    server.archived()
    platform(server)
    airflow.add_run("retrain_mail", "later", day=1)
    airflow.add_task("retrain_mail", "later", "publish")
    airflow.add_result("retrain_mail", "later", "publish", "0" * 64)
    airflow.session.commit()
    airflow.close()
    server.archived()

    with rehearse(kit_of(place), place / "drill", time.time()) as rehearsal:
        facts = rehearsal.facts
    assert (facts["database"], facts["cleared"], facts["dangling"]) == (True, 1, 0)
    monkeypatch.setattr(postgresql, "DEBIAN", place)
    monkeypatch.setenv("PATH", str(place))
    with rehearse(kit_of(place), place / "without", time.time()) as rehearsal:
        assert rehearsal.facts["database"] is False
        assert "is not installed here" in rehearsal.facts["database_skipped"]


def test_a_database_comes_back_alone_beside_a_store_that_is_there(
    run_postgres: Callable[..., Postgres], platform: Callable[..., PlatformBackup], archive: Store, place: Path
) -> None:
    """To a moment before a mistake; the rest of the backup is neither needed nor read, and the store is left alone."""
    server = run_postgres()
    airflow = airflow_on(server)
    airflow.close()
    done = platform(server)
    before = datetime.datetime.now(datetime.UTC).isoformat()
    server.ask("DELETE FROM dag_run")
    server.archived()
    server.lose()
    for entry in done.manifest.files:
        if entry.name == INVENTORY_FILE:
            next(path for path in files_of(archive) if path.name == entry.stored_sha256).unlink()
    store = {"endpoints": [{"name": f"e{n}", "url": f"file://{place / 'store' / f'e{n}'}"} for n in range(3)]}
    (place / "store.json").write_text(json.dumps({**store, "acknowledge": 2}))
    here = files_of(open_store(StorageSettings.from_json((place / "store.json").read_text())))
    paths = {"kit.json": str(place / "kit.json"), "store.json": str(place / "store.json"), "FOLDER": str(server.data)}
    command = [paths.get(word, word) for word in IN_THE_RUNBOOK.split()[1:]]

    assert main([*command[:-1], "dataset-mail", "--at", before]) == 2
    assert main([*command, "--at", before]) == 0
    server.start()
    assert server.ask("SELECT run_id FROM dag_run") == [("before",)]
    assert here == files_of(open_store(StorageSettings.from_json((place / "store.json").read_text())))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_loss_costs_a_minute_of_runs_at_most(
    run_postgres: Callable[..., Postgres], archive: Store, place: Path
) -> None:
    """Runs are written all the time, and the server is lost just before the log would be archived the next time."""
    server = run_postgres()
    server.ask(NOTE)
    base = make_base(archive, server.server)
    stop, written = threading.Event(), list[datetime.datetime]()

    def write() -> None:
        while not stop.wait(0.2):
            written.append(add(server, str(len(written))))

    writer = threading.Thread(target=write)
    writer.start()
    wait_for_the_end_of_a_segment(server)
    stop.set()
    writer.join()
    server.lose()
    rebuild_database(archive, base, place / "data")
    back = runs_in(base, place / "data")

    assert back == [str(number) for number in range(len(back))]
    lost = (written[-1] - written[len(back) - 1]).total_seconds()
    print(f"{lost:.1f} s of runs were lost, {len(written) - len(back)} of {len(written)}")
    assert ARCHIVE_SECONDS - 10 < lost <= 60
