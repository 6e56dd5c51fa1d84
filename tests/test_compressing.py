"""The tasks from a fine-tuned model to a compressed one, as the DAG hands digests on."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import Connection

from operators.compress import CompressOperator
from operators.core.compression.spec import (
    BudgetSpec,
    CandidateKind,
    CandidateSpec,
    CompressionSpec,
    ExportSpec,
    MeasurementSpec,
    ShapeSpec,
    StudentSpec,
)
from operators.core.progress import no_progress
from operators.core.recipe import Recipe
from operators.make_candidates import MakeCandidatesOperator
from operators.make_students import MakeStudentsOperator
from operators.recipes import load_recipe
from tests.core.finetuning.test_fine_tune import SPEC, Place

pytestmark = pytest.mark.integration

DAY = datetime.date(2002, 9, 26)
STOCKS = load_recipe(Path(__file__).parents[1] / "dags" / "recipes" / "stock_sentiment.py")
SMALL = CompressionSpec(
    candidates=(CandidateSpec(kind=CandidateKind.INT8), CandidateSpec(kind=CandidateKind.INT8, of="half")),
    students=(StudentSpec(name="half", shape=ShapeSpec(layers=1), epochs=1),),
    export=ExportSpec(parity_texts=4),
    measurement=MeasurementSpec(latency_texts=10, latency_batches=5, warm_up_texts=1),
    budget=BudgetSpec(max_score_drop=0.9, min_agreement=0.0, objective="bytes"),
)


def recipe_with(compression: CompressionSpec) -> Recipe:
    return replace(STOCKS, training=replace(SPEC, ranks=1), compression=compression)


def test_a_student_goes_from_task_to_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut, trained, made small, measured, chosen for its bytes; a second time the student is found."""
    place = Place(tmp_path)
    model = place.fine_tune().digest
    extra = {"storage": place.settings.to_json(), "scratch": str(place.scratch)}
    monkeypatch.setattr(Connection, "get", lambda name: SimpleNamespace(extra_dejson=extra))
    monkeypatch.setattr("operators.connections.store_settings", lambda: place.settings)
    recipe = recipe_with(SMALL)
    make = MakeStudentsOperator(task_id="make_students", recipe=recipe, dataset=place.dataset, base_model=model)
    students = [one.digest for one in make.run(place.store, recipe, DAY, no_progress)]
    made = MakeCandidatesOperator(task_id="make_candidates", recipe=recipe, model=model, students=students).run(
        place.store, recipe, DAY, no_progress
    )
    compress = CompressOperator(task_id="compress", recipe=recipe, model=model, candidates=[one.digest for one in made])
    chosen = compress.run(place.store, recipe, DAY, no_progress).manifest

    assert make.account["students"]["half"]["examples"] == 400
    assert chosen.facts["chosen"] == "half_int8"
    assert [one["name"] for one in chosen.facts["candidates"]] == ["int8", "half_int8"]
    assert chosen.files == made[1].manifest.files
    assert [one.found for one in make.run(place.store, recipe, DAY, no_progress)] == [True]


def test_a_recipe_refuses_a_student_that_it_could_not_train() -> None:
    """When the recipe is made, not in the night."""
    student = replace(SMALL.students[0], encoder_rate=2.0)

    with pytest.raises(ValueError, match=r"encoder_rate=2\.0"):
        recipe_with(replace(SMALL, students=(student,)))
