"""The page after years of nights: 1,000 runs in Airflow's database, 10,000 manifests in the store."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from nightshift_ui.app import build_app

from operators.core.manifest import Made, Manifest, StageCall
from operators.core.settings import StorageSettings
from operators.core.storage import Store, initialise, open_store
from operators.overview import Overview
from operators.pipelines import read_pipelines
from tests.airflow_database import AirflowDatabase
from tests.core.overview.nights import note
from tests.plugins.conftest import as_role, sources_of

DAGS = [f"retrain_{name}" for name in ("mail", "banking", "stocks", "entities")]
RUNS, MANIFESTS = 1000, 10_000
STAGES = ("discover", "validate", "ingest", "check_drift", "publish_dataset", "fine_tune", "evaluate", "gate")
ROWS = {"in": 9, "kept": 9, "duplicates": 0, "near_duplicates": 0, "quarantined": {}}


def fill_store(settings: StorageSettings) -> None:
    """Put manifests that nobody asks for where a store has them: its own way would take minutes."""
    store = open_store(settings)
    for number in range(MANIFESTS):
        call = StageCall(stage="ingest_file", revision=1, seed=number)
        manifest = Manifest.of(call, Made(facts={"day": "2002-09-26", "rows": number}))
        for one in settings.endpoints:
            line = store.record.line(one.name)
            path = (
                Path(one.url.removeprefix("file://")) / line.incarnation / "man" / manifest.digest[:2] / manifest.digest
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(manifest.encode())


def add_night(store: Store, database: AirflowDatabase, dag_id: str, number: int, is_newest: bool) -> None:
    """Have a run there; of the newest, also what it made."""
    run_id = f"scheduled__{number}"
    database.add_run(dag_id, run_id, day=number)
    for place, stage in enumerate(STAGES):
        database.add_task(dag_id, run_id, stage)
        digest = "0" * 64
        if is_newest:
            facts = {"rows": ROWS, "day": "2002-09-26", "level": "none", "drifted": ""}
            call = StageCall(stage=stage, revision=1, seed=place, spec={"dag": dag_id})
            digest = store.once(call, lambda facts=facts: Made(facts=facts)).digest
            note(store, call.run_key, stage, "made", run_id=run_id)
        database.add_result(dag_id, run_id, stage, json.dumps(digest))


@pytest.mark.slow
def test_the_whole_page_is_there_within_a_second(tmp_path: Path, storage_settings: StorageSettings) -> None:
    """Nothing of it is left out, and nothing was read before: how many nights there were does not matter."""
    initialise(storage_settings, rounds=0)
    fill_store(storage_settings)
    database, store = AirflowDatabase(tmp_path / "airflow.db"), open_store(storage_settings)
    for dag_id in DAGS:
        database.add_dag(dag_id, dag_id)
        for number in range(RUNS // len(DAGS)):
            add_night(store, database, dag_id, number, is_newest=number == RUNS // len(DAGS) - 1)
    took = []
    for _ in range(3):
        app = FastAPI()
        overview = Overview(sources_of(storage_settings), wait_seconds=30)
        app.mount("/nightshift", build_app(overview, lambda _: read_pipelines(database.session, set(DAGS))))
        client, begun = as_role(app, "viewer"), time.perf_counter()
        answer = client.get("/nightshift/")
        took.append(time.perf_counter() - begun)

        assert answer.status_code == 200
        assert "Not all of this could be read" not in answer.text
        assert answer.text.count("8 made") == len(DAGS)
    database.close()

    assert min(took) < 1.0, took
    print(f"the page took {min(took):.2f} s, at most {max(took):.2f} s, with nothing read before")
