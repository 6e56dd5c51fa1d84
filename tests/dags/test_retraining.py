"""The main job's DAG, as the scheduler parses it, and the day that a run of it is for."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from operators.parameters import day_of

FOLDER = Path(__file__).resolve().parents[2] / "dags"
PARSE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1], collect_dags=True)
assert not bag.import_errors, bag.import_errors
dags = bag.dags.values()
print(json.dumps([
    {
        "dag_id": dag.dag_id, "doc": dag.doc_md, "catchup": dag.catchup, "active": dag.max_active_runs,
        "timeout": str(dag.dagrun_timeout), "tags": sorted(dag.tags),
        "tasks": {
            t.task_id: {
                "owner": t.owner, "retries": t.retries, "backoff": bool(t.retry_exponential_backoff),
                "timeout": str(t.execution_timeout), "response": str(getattr(t, "response_timeout", None)),
                "doc": t.doc_md or "", "pool": t.pool,
                "upstream": sorted(t.upstream_task_ids),
            }
            for t in dag.tasks
        },
    }
    for dag in dags
]))
"""
PRETRAINED = f"""
from dataclasses import replace
from operators.core.deployment.spec import DeploymentSpec
from pathlib import Path
from operators.core.finetuning.language_spec import PretrainingSpec
from operators.recipes import load_recipe
STOCKS = load_recipe(Path({str(FOLDER)!r}) / "recipes" / "stock_sentiment.py")
APPROVED = DeploymentSpec(needs_approval=True)
RECIPE = replace(STOCKS, name="pretrained", pretraining=PretrainingSpec(), deployment=APPROVED)
"""
CAUSAL = f"""
from dataclasses import replace
from pathlib import Path
from operators.core.finetuning.language_spec import CausalTrainingSpec
from operators.core.models.known import SMOLLM2_135M
from operators.recipes import load_recipe
STOCKS = load_recipe(Path({str(FOLDER)!r}) / "recipes" / "stock_sentiment.py")
RECIPE = replace(
    STOCKS, name="causal", base_model=SMOLLM2_135M, training=CausalTrainingSpec(), compression=None, gate=None,
    deployment=None,
)
"""
ORDER = {
    "discover": [],
    "validate": ["discover"],
    "ingest": ["validate"],
    "check_drift": ["ingest"],
    "publish_dataset": ["adopt_model", "check_drift", "ingest"],
    "adopt_model": [],
    "tune": ["adopt_model", "publish_dataset"],
    "fine_tune": ["adopt_model", "publish_dataset", "tune"],
    "evaluate": ["adopt_model", "fine_tune", "publish_dataset"],
    "make_candidates": ["fine_tune"],
    "compress": ["evaluate", "make_candidates", "publish_dataset"],
    "evaluate_compressed": ["adopt_model", "compress", "publish_dataset"],
    "gate": ["evaluate_compressed"],
    "deploy": ["gate"],
    "back_up": ["deploy"],
}


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Every DAG of the project and those of two more recipes, by id, parsed in a process of its own."""
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow"))}
    folder = tmp_path_factory.mktemp("project") / "dags"
    shutil.copytree(FOLDER, folder)
    (folder / "recipes" / "pretrained.py").write_text(PRETRAINED)
    (folder / "recipes" / "causal.py").write_text(CAUSAL)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PARSE, str(folder)], env=environment, capture_output=True, check=True
    )
    return {dag["dag_id"]: dag for dag in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.integration
def test_the_main_job_has_the_order_of_the_design(dags: dict[str, dict[str, Any]]) -> None:
    """Each task waits for those whose manifests it takes, and compression for the proof of its parent."""
    tasks = dags["retrain_mail_triage"]["tasks"]

    assert {name: task["upstream"] for name, task in tasks.items()} == ORDER


@pytest.mark.integration
def test_a_recipe_with_pretraining_and_approval_has_their_tasks(dags: dict[str, dict[str, Any]]) -> None:
    """Its task stands between the adopted model and all that trains or probes one; the recipe has no search.

    It also asks for approval: that stands between the gate and the deployment.
    """
    tasks = dags["retrain_pretrained"]["tasks"]
    expected = {
        name: sorted("continue_pretraining" if one == "adopt_model" else one for one in upstream if one != "tune")
        for name, upstream in ORDER.items()
        if name != "tune"
    }
    # Tokens of a data set are made by the adopted model's tokeniser, which pre-training leaves as it is.
    expected |= {
        "publish_dataset": ORDER["publish_dataset"],
        "approve": ["gate"],
        "deploy": ["approve", "gate"],
        "continue_pretraining": ["adopt_model", "publish_dataset"],
    }

    assert {name: task["upstream"] for name, task in tasks.items()} == expected


@pytest.mark.integration
def test_a_causal_language_model_s_recipe_ends_with_its_evaluation(dags: dict[str, dict[str, Any]]) -> None:
    """Nothing after it is there to fail; who may roll back is not offered it."""
    tasks = dags["retrain_causal"]["tasks"]
    last = list(ORDER).index("evaluate")
    expected = {
        name: [one for one in upstream if one != "tune"]
        for name, upstream in list(ORDER.items())[: last + 1]
        if name != "tune"
    }

    assert {name: task["upstream"] for name, task in tasks.items()} == expected


@pytest.mark.integration
def test_every_task_can_be_retried_ends_in_time_and_says_what_its_errors_mean(dags: dict[str, dict[str, Any]]) -> None:
    """Owner, retries with backoff, a time-out and triage notes: on every task of every DAG."""
    for dag in dags.values():
        assert "Triage" in dag["doc"], dag["dag_id"]
        assert (dag["catchup"], dag["active"]) == (False, 1), dag["dag_id"]
        for name, task in dag["tasks"].items():
            where = f"{dag['dag_id']}.{name}"
            assert task["owner"] not in ("", "airflow"), where
            assert task["retries"] >= 3, where
            assert task["backoff"], where
            assert task["timeout"] != "None" or task["response"] != "None", where
            assert "Triage" in task["doc"], where


@pytest.mark.integration
def test_training_takes_the_accelerators(dags: dict[str, dict[str, Any]]) -> None:
    """Two trainings never share the machine's devices: they have one slot."""
    for task in ("tune", "fine_tune"):
        assert dags["retrain_mail_triage"]["tasks"][task]["pool"] == "accelerators"


@pytest.mark.integration
def test_only_a_recipe_with_a_search_has_a_task_for_it(dags: dict[str, dict[str, Any]]) -> None:
    """The others train at once."""
    assert "tune" not in dags["retrain_stock_sentiment"]["tasks"]
    assert dags["retrain_stock_sentiment"]["tasks"]["fine_tune"]["upstream"] == ["adopt_model", "publish_dataset"]


@pytest.mark.integration
@pytest.mark.parametrize("task", ["evaluate", "make_candidates", "compress", "evaluate_compressed"])
def test_what_starts_over_has_hours(dags: dict[str, dict[str, Any]], task: str) -> None:
    """A stage without checkpoints that its time-out cuts off would never end on a machine too slow for it."""
    assert dags["retrain_mail_triage"]["tasks"][task]["timeout"] == "6:00:00"


def context(run_type: str, day: str | None = None, start: datetime.datetime | None = None) -> dict[str, Any]:
    """Return what `day_of` reads of a task's context; the run is made at noon of 2002-09-27."""
    after = datetime.datetime(2002, 9, 27, 12, tzinfo=datetime.UTC)
    run = SimpleNamespace(run_type=run_type, run_after=after, data_interval_start=start)
    return {"params": {"day": day}, "dag_run": run}


def test_a_trigger_the_schedule_and_a_backfill_of_one_day_are_for_one_day() -> None:
    """All three name the same day, and run keys know of a run nothing else."""
    start = datetime.datetime(2002, 9, 26, tzinfo=datetime.UTC)
    days = {
        day_of(context("manual", day="2002-09-26")),
        day_of(context("manual")),
        day_of(context("scheduled", start=start)),
        day_of(context("backfill", start=start)),
    }

    assert {datetime.date(2002, 9, 26)} == days


def test_a_manual_run_ignores_the_interval_before_its_logical_date() -> None:
    """Airflow gives a manual run the interval before; the last complete day is what a person means."""
    before = datetime.datetime(2002, 9, 25, tzinfo=datetime.UTC)

    assert datetime.date(2002, 9, 26) == day_of(context("manual", start=before))


def test_a_day_in_the_future_is_refused() -> None:
    """The message says which day would do."""
    with pytest.raises(ValueError, match="choose 2002-09-27 or earlier"):
        day_of(context("manual", day="2002-09-28"))
