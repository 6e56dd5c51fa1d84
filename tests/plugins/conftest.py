"""The pages over a real store, asked as somebody with a role."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from nightshift_ui.app import build_app

from operators.core.overview.availability import History
from operators.core.overview.prices import PriceList
from operators.core.overview.runs import Pipeline, Run
from operators.core.recovery.drill import record_drill
from operators.core.recovery.spec import DrillSpec
from operators.core.settings import EndpointSettings, ServingSettings, StorageSettings
from operators.core.storage import initialise, open_store
from operators.core.storage.scrubbing import ScrubSpec, scrub_storage
from operators.overview import Overview, Sources
from tests.core.erasure.nights import copy_of
from tests.core.overview.nights import RECIPE, SPENT, back_up, back_up_whole, first_run, note, pipeline_of


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


def server_that_says(current: str, candidate: str | None = None, share: float = 0.0) -> FastAPI:
    """Return what answers the page's two questions as a model server would."""
    server = FastAPI()

    @server.get("/v2/repository/models/{model}/traffic")
    def traffic(model: str) -> dict[str, Any]:
        return {"releases": {}, "current": current, "candidate": candidate, "share": share}

    @server.get("/metrics")
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(f'nightshift_request_seconds_bucket{{version="{current}",le="+Inf"}} 1204\n')

    return server


def sources_of(settings: StorageSettings, *servers: str) -> Sources:
    """Return sources of one store and a backup beside it, with the servers at these addresses."""
    return Sources(
        store=lambda: open_store(settings),
        backup=lambda: open_store(backup_beside(settings)),
        serving=lambda: ServingSettings(servers=servers, balancer_url="http://127.0.0.1:1", token="none"),
        prices=lambda: PriceList(currency="EUR", machine_hour=1.2, kilowatt_hour=0.3),
        availability=watched,
        keepers=lambda: frozenset({"keeper"}),
    )


def app_of(
    settings: StorageSettings, *pipelines: Pipeline, docs: Path | None = None, servers: Sequence[str] = ()
) -> FastAPI:
    """Return the pages as Airflow mounts them."""
    # A busy machine must not make a test of what is shown one of how fast.
    overview = Overview(sources_of(settings, *servers), wait_seconds=30.0, read_seconds=30.0)
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
    """A store of a good night, of these tests alone: scrubbed, backed up, rehearsed, each task with its account."""
    settings = copy_of(first_night, tmp_path_factory.mktemp("night"))
    now = datetime.datetime.now(datetime.UTC)
    store = open_store(settings)
    scrub_storage(store, ScrubSpec())
    back_up_whole(store, now - datetime.timedelta(hours=3), "drill", "keeper")
    record_drill(store, {"rpo_seconds": 3 * 3600.0, "rto_seconds": 190.0}, DrillSpec())
    for one in first_run(store).tasks:
        trained = {"spent": SPENT, "joules": 61_000.0, "energy": "estimated"} if one.task_id == "fine_tune" else {}
        outcome = "found" if one.task_id == "discover" else "made"
        for digest in one.digests:
            note(store, store.manifest(digest).run_key, one.task_id, outcome, **trained)
    return settings


@pytest.fixture(scope="module")
def run(night: StorageSettings) -> Run:
    """The night that made what is live; it ended an hour ago."""
    ended = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    return dataclasses.replace(
        first_run(open_store(night)), began_at=ended - datetime.timedelta(minutes=10), ended_at=ended
    )


@pytest.fixture(scope="module")
def app(night: StorageSettings, run: Run) -> FastAPI:
    """The pages after that night."""
    return app_of(night, pipeline_of(run))
