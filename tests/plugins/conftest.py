"""The pages over a real store, asked as somebody with a role."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI
from fastapi.testclient import TestClient
from nightshift_ui.app import build_app

from operators.core.overview.availability import History
from operators.core.overview.prices import PriceList
from operators.core.overview.runs import Pipeline, Run
from operators.core.settings import EndpointSettings, ServingSettings, StorageSettings
from operators.core.storage import initialise, open_store
from operators.overview import Overview, Sources
from tests.core.erasure.nights import copy_of
from tests.core.overview.nights import RECIPE, back_up, back_up_whole, first_run, pipeline_of


def backup_beside(settings: StorageSettings) -> StorageSettings:
    """Return the settings of a backup store beside a store, made with a backup in it where it is not there yet."""
    folder = Path(settings.endpoints[0].url.removeprefix("file://")).parent / "backup"
    found = StorageSettings(endpoints=(EndpointSettings(name="backup", url=f"file://{folder}"),), acknowledge=1)
    if not folder.exists():
        folder.mkdir()
        initialise(found, rounds=0)
        backup = open_store(found)
        # The store knows of its backups, as `back_up` has it.
        open_store(settings).put_manifest(backup.manifest(back_up(backup)))
    return found


def watched() -> History:
    """Return what a watcher saw in some days, the last of which is today."""
    now, history = datetime.datetime.now(datetime.UTC), History()
    for day, silent in ((40, 0), (2, 3), (0, 0)):
        for look in range(240):
            history = history.noting(RECIPE, now - datetime.timedelta(days=day), look >= silent)
    return history


def sources_of(settings: StorageSettings) -> Sources:
    """Return sources of one store and a backup beside it, without servers."""
    return Sources(
        store=lambda: open_store(settings),
        backup=lambda: open_store(backup_beside(settings)),
        serving=lambda: ServingSettings(servers=(), balancer_url="http://127.0.0.1:1", token="none"),
        prices=lambda: PriceList(currency="EUR", machine_hour=1.2, kilowatt_hour=0.3),
        availability=watched,
        keepers=lambda: frozenset({"keeper"}),
    )


def app_of(settings: StorageSettings, *pipelines: Pipeline, docs: Path | None = None) -> FastAPI:
    """Return the pages as Airflow mounts them."""
    # A busy machine must not make a test of what is shown one of how fast.
    overview = Overview(sources_of(settings), wait_seconds=30.0, read_seconds=30.0)
    around = FastAPI()
    around.mount("/nightshift", build_app(overview, lambda _: list(pipelines), lambda: docs or Path("/nowhere")))
    return around


def as_role(app: FastAPI, role: str | None) -> TestClient:
    """Return a client that is logged in with a role, or not logged in."""
    pages = next(route.app for route in app.routes if getattr(route, "path", "") == "/nightshift")
    pages.dependency_overrides.clear()
    if role is not None:
        pages.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username=f"a {role}", role=role)
    return TestClient(app, follow_redirects=False)


@pytest.fixture(autouse=True)
def _auth_manager() -> None:
    """Airflow's own decision on what a role may do."""
    create_auth_manager()


@pytest.fixture(scope="module")
def night(first_night: Path, tmp_path_factory: pytest.TempPathFactory) -> StorageSettings:
    """A store of a good night, of these tests alone."""
    settings = copy_of(first_night, tmp_path_factory.mktemp("night"))
    now = datetime.datetime.now(datetime.UTC)
    back_up_whole(open_store(settings), now - datetime.timedelta(hours=3), "drill", "keeper")
    return settings


@pytest.fixture(scope="module")
def run(night: StorageSettings) -> Run:
    """The night that made what is live."""
    return first_run(open_store(night))


@pytest.fixture(scope="module")
def app(night: StorageSettings, run: Run) -> FastAPI:
    """The pages after that night."""
    return app_of(night, pipeline_of(run))
