"""What a recipe asks of a model beside its score: of parts of the rows, of calibration, of careless writing."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from operators.core.errors import GateFailed
from operators.core.evaluation.floors import below_floors
from operators.core.evaluation.gate import gate
from operators.core.evaluation.slices import Slice
from operators.core.evaluation.spec import EvaluationSpec, GateSpec
from operators.core.manifest import Made, StageCall, canonical
from operators.core.storage import Store
from operators.recipes import load_recipe
from tests.core.deployment.tiny import GOOD, RECIPE, tiny_dataset, tiny_model, tiny_release
from tests.core.signers import SIGNER

FACTS: dict[str, Any] = {"measure": "accuracy", "score": 0.95, "calibration_error": 0.04, "stays": 0.9}
SLICES = (
    Slice("label", "spam", 300, False, 0.80, 0.75, 0.84),
    Slice("label", "ham", 700, False, 0.99, 0.98, 0.995),
    Slice("length", "up to 40 characters", 12, True, 0.25, 0.09, 0.53),
)
NONE = GateSpec()


def evaluated(store: Store, model: str, dataset: str, **facts: Any) -> str:
    """Commit an evaluation of a model and return its digest."""
    call = StageCall(
        stage="evaluate",
        revision=1,
        inputs=(store.as_input("model", model), store.as_input("dataset", dataset)),
        spec={name: str(value) for name, value in facts.items()},
    )
    report = canonical({"slices": [asdict(one) for one in SLICES]})
    kept = {name: value for name, value in (FACTS | facts).items() if value is not None}
    return store.once(call, lambda: Made(files=(store.put_bytes("report.json", report),), facts=kept)).digest


@pytest.mark.parametrize(
    ("floors", "words"),
    [
        ({}, []),
        ({"max_calibration_error": 0.04, "min_stays": 0.9, "min_slice_score": 0.84}, []),
        ({"max_calibration_error": 0.03}, ["calibration error 0.0400"]),
        ({"min_stays": 0.95}, ["answers that stay is 0.9000"]),
        ({"min_slice_score": 0.85}, ["on 300 rows of label 'spam'"]),
    ],
)
def test_a_floor_refuses_what_is_below_it_and_nothing_else(
    store: Store, floors: dict[str, float], words: list[str]
) -> None:
    """None asks nothing; a part with few rows, or one that chance explains, is no reason."""
    digest = evaluated(store, tiny_model(store, GOOD), tiny_dataset(store, "2002-09-26"))
    reasons = below_floors(store, store.manifest(digest), replace(NONE, **floors))

    assert len(reasons) == len(words)
    assert all(word in reason for word, reason in zip(words, reasons, strict=True))


def test_what_was_not_measured_is_refused(store: Store) -> None:
    """A floor that nothing is held against would be none."""
    model, dataset = tiny_model(store, GOOD), tiny_dataset(store, "2002-09-26")
    digest = evaluated(store, model, dataset, calibration_error=None, stays=None)
    reasons = below_floors(store, store.manifest(digest), replace(NONE, max_calibration_error=0.5, min_stays=0.5))

    assert [("not measured" in reason) for reason in reasons] == [True, True]


def test_the_gate_holds_a_model_to_its_recipe_s_floors_unless_it_is_live(store: Store) -> None:
    """The reason is in the error and in the verdict; what is live passes as before."""
    model, dataset = tiny_model(store, GOOD), tiny_dataset(store, "2002-09-26")
    evaluation = evaluated(store, model, dataset)

    def verdict() -> str:
        def never(model: str, dataset: str) -> Any:
            raise AssertionError("nothing has to be compared")

        spec = replace(NONE, min_slice_score=0.9)
        return gate(store, evaluation, recipe=RECIPE, spec=spec, evaluate=never, signer=SIGNER).digest

    with pytest.raises(GateFailed, match=r"'spam' is below the floor of 0\.9 for every part"):
        verdict()
    tiny_release(store, model, "2002-09-26")
    assert store.manifest(verdict()).facts["verdict"] == "passed"


@pytest.mark.parametrize("name", ["min_slice_score", "max_calibration_error", "min_stays"])
def test_a_floor_that_cannot_be_is_refused(name: str) -> None:
    """Out of range, and one of what the recipe does not have measured."""
    with pytest.raises(ValueError, match=name):
        GateSpec(**{name: 1.5})
    recipe = load_recipe(Path(__file__).parents[3] / "dags" / "recipes" / "mail_triage.py")
    with pytest.raises(ValueError, match=r"gate\.min_stays: .*perturbed_rows"):
        replace(recipe, gate=GateSpec(min_stays=0.5), evaluation=EvaluationSpec(perturbed_rows=0))
