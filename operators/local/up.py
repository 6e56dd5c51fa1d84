"""Bring the one-machine platform up: what runs already is left alone, what is missing is started, all is waited for."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from operators.core.errors import NightshiftError, StorageError
from operators.core.settings import ServingSettings, StorageSettings
from operators.core.storage import initialise
from operators.local import airflow, ports, seaweedfs, services, serving
from operators.local.credentials import Credentials, load_credentials
from operators.local.disk import check_disk
from operators.local.layout import REPOSITORY, Layout, PlatformError, write_private
from operators.local.rest import AirflowRest
from operators.local.serve_live import serve_live
from operators.local.supervisor import Supervisor, marked
from operators.local.waiting import START_SECONDS, wait_for_airflow, wait_for_service

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """A platform that is up, or about to be."""

    layout: Layout
    ports: Mapping[str, int]
    credentials: Credentials
    services: tuple[services.Service, ...]

    @property
    def supervisor(self) -> Supervisor:
        """Return a client of its supervisor."""
        return Supervisor(self.layout)

    @property
    def rest(self) -> AirflowRest:
        """Return a client of its Airflow."""
        return AirflowRest.of(self.ports, self.credentials)

    @property
    def storage(self) -> StorageSettings:
        """Return the settings of its store."""
        return seaweedfs.store_settings(self.layout, self.ports, self.credentials)

    @property
    def serving(self) -> ServingSettings:
        """Return where its model servers are."""
        return serving.serving_settings(self.layout, self.ports, self.credentials)


def up(
    layout: Layout,
    environment: Mapping[str, str],
    say: Say,
    *,
    recipe: str = services.DEFAULT_RECIPE,
    dags: Path = REPOSITORY / "dags",
) -> Platform:
    """Return once every service answers and the store is initialised.

    Args:
        layout: Where all state lies.
        environment: Says where ports are to be, if not in their usual places.
        say: Told what is being done.
        recipe: What the model servers answer for.
        dags: The folder that Airflow reads.

    Raises:
        PlatformError: A port is taken, the disk is too full, or a service did not come up; the log is named.
    """
    running = Supervisor(layout).is_up()
    placed = check(layout, environment, recipe=recipe)
    layout.make()
    ports.save(layout, placed)
    credentials = load_credentials(layout)
    platform = Platform(
        layout=layout,
        ports=placed,
        credentials=credentials,
        services=services.all_services(layout, placed, recipe),
    )
    services.configure(layout, placed, credentials, dags)
    if not running:
        say("starting the supervisor")
        write_private(_served(layout), recipe)
        platform.supervisor.boot(platform.services, environment)
    _start(platform, say)
    _serve_live(platform, recipe, say)
    wait_for_airflow(platform.supervisor, platform.layout, platform.rest)
    platform.rest.ensure_pool("accelerators", 1, "Tasks that use every accelerator or core there is: one at a time.")
    return platform


def check(layout: Layout, environment: Mapping[str, str], *, recipe: str = services.DEFAULT_RECIPE) -> dict[str, int]:
    """Return where the platform listens, or is to listen once it starts; nothing is made or started.

    Raises:
        PlatformError: A port is taken, the disk is too full, the platform is up and serves another recipe, or its
            supervisor was killed.
    """
    if Supervisor(layout).is_up():
        _check_served(layout, recipe)
        check_disk(layout, environment)
        return ports.load(layout)
    if left := marked(layout):
        raise PlatformError(
            f"{len(left)} processes of this platform live on without their supervisor, which was killed: `make stop` "
            "ends them, then `make run` goes on where they were."
        )
    if layout.restoring.exists():
        raise PlatformError(
            f"a restore of backup {layout.restoring.read_text().strip()[:12]} has not ended: what is there is not "
            "whole. `nightshift restore --kit FILE` goes on with it"
        )
    check_disk(layout, environment)
    placed = ports.wanted_ports(environment)
    ports.check_free(placed)
    return placed


def _served(layout: Layout) -> Path:
    return layout.run / "recipe"


def _check_served(layout: Layout, recipe: str) -> None:
    served = _served(layout).read_text() if _served(layout).exists() else recipe
    if served != recipe:
        raise PlatformError(
            f"the model servers of this platform answer for {served}, one recipe at a time: `make stop`, then run "
            f"{recipe} again. Nothing is lost: what {served} has released stays in the store."
        )


def _start(platform: Platform, say: Say) -> None:
    supervisor = platform.supervisor
    migration = _migrate(platform.layout)
    others = [service for service in platform.services if service.name not in services.AIRFLOW_SERVICES]
    running = {name for name, state in supervisor.states().items() if state == "RUNNING"}
    if not running.issuperset(service.name for service in others):
        say("starting the object stores, the balancer and the model servers")
    supervisor.start(service.name for service in others)
    backup = seaweedfs.backup_settings(platform.ports, platform.credentials)
    if migration is not None:
        say("making Airflow's database")
        _finish_migration(platform.layout, migration)
    if not running.issuperset(services.AIRFLOW_SERVICES):
        say("starting Airflow")
    supervisor.start(services.AIRFLOW_SERVICES)
    _wait(platform, others)
    for each in (platform.storage, backup):
        _initialise(each)


def _serve_live(platform: Platform, recipe: str, say: Say) -> None:
    """Have servers that lost everything answer again; a platform that cannot do it now is up all the same."""
    try:
        version = serve_live(platform.storage, platform.serving, recipe)
    except NightshiftError as error:
        say(f"the model servers hold nothing and were not given what is live: {error}. The next deploy tries again")
        return
    if version is not None:
        say(f"the model servers were empty: {version}, which is live, answers{_since_restore(platform.layout)}")


def _since_restore(layout: Layout) -> str:
    """Return how long ago the restore began whose platform this is, in words; told once."""
    if not layout.restored.exists():
        return ""
    seconds = time.time() - float(layout.restored.read_text())
    layout.restored.unlink()
    return f", {seconds:.1f} s after the restore began"


def _initialise(settings: StorageSettings) -> None:
    """Make the store's member record if it has none; a server that answers may take a moment to take writes."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            initialise(settings)
            return
        except StorageError as error:
            if time.monotonic() > deadline:
                raise PlatformError(f"the store cannot be initialised: {error}") from error
            time.sleep(0.3)


def _migrate(layout: Layout) -> subprocess.Popen[str] | None:
    """Begin to make or upgrade the database; None where it already fits this Airflow."""
    mark = _migrated(layout)
    migrated = mark.read_text() if mark.exists() and layout.airflow_database.exists() else ""
    if migrated == importlib.metadata.version("apache-airflow-core"):
        return None
    variables = {**os.environ, **airflow.read_environment(layout.airflow_environment)}
    command = [str(services.BIN / "airflow"), "db", "migrate"]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish_migration(layout: Layout, migration: subprocess.Popen[str]) -> None:
    output, _ = migration.communicate()
    (layout.log / "airflow-migration.log").write_text(output)
    if migration.returncode != 0:
        raise PlatformError(f"Airflow's database could not be made, see {layout.log}/airflow-migration.log")
    _migrated(layout).write_text(importlib.metadata.version("apache-airflow-core"))


def _migrated(layout: Layout) -> Path:
    return layout.airflow / "migrated"


def _wait(platform: Platform, wanted: Iterable[services.Service]) -> None:
    for service in wanted:
        wait_for_service(platform.supervisor, platform.layout, service)
