"""What a drill trains again of what was restored."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from operators.core.finetuning.rehearse import STEPS
from operators.core.manifest import Made, StageCall
from operators.core.recovery.drill import Rehearsal
from operators.core.recovery.spec import DrillSpec
from operators.core.storage import Result
from operators.drill import _retrain
from tests.core.finetuning.test_fine_tune import Place

pytestmark = pytest.mark.integration

RECIPES: Any = [SimpleNamespace(name="mail"), SimpleNamespace(name="another")]
MET = {"rpo_seconds": 1.0, "rto_seconds": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the place lies."""
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def live(folder: Path) -> tuple[Place, Result]:
    """A place in which a trained and compressed model is live, and the trained one."""
    place = Place(folder)
    store, trained = place.store, place.fine_tune()
    smaller = store.once(
        StageCall(stage="compress", revision=1, inputs=(store.as_input("model", trained.digest),)), Made
    )
    day = datetime.date(2002, 9, 26).isoformat()
    call = StageCall(stage="release", revision=1, inputs=(store.as_input("model", smaller.digest),))
    release = store.once(call, lambda: Made(facts={"recipe": "mail", "day": day, "version": f"{day}-1"}))
    store.stream("release-mail").append(release.digest, None)
    return place, trained


def rehearsal(place: Place) -> Rehearsal:
    """Say that this is what was restored."""
    return Rehearsal(settings=place.settings, started=0.0, facts={})


def test_the_live_model_s_first_steps_are_taken_again(live: tuple[Place, Result], tmp_path: Path) -> None:
    """And lose what they lost; a recipe of which nothing is live has nothing to train."""
    place, _ = live
    facts = _retrain(rehearsal(place), tmp_path, RECIPES, lambda *_: None)

    assert (facts["retraining_difference"], "retraining_error" in facts) == (0.0, False)
    assert facts["retrained_steps"] == STEPS
    assert DrillSpec().missed({**MET, **facts}) == []


def test_what_was_restored_and_does_not_train_is_a_missed_target(
    live: tuple[Place, Result], folder: Path, tmp_path: Path
) -> None:
    """The base model came back without its weights: the drill names it."""
    place, trained = live
    (base,) = (item.manifest for item in trained.manifest.inputs if item.role == "base_model")
    entry = place.store.manifest(str(base)).file("model.safetensors")
    for path in folder.rglob(entry.stored_sha256):
        path.unlink()
    facts = _retrain(rehearsal(place), tmp_path, RECIPES, lambda *_: None)
    (missed,) = DrillSpec().missed({**MET, **facts})

    assert missed.startswith("what was restored does not train: mail: AllCopiesDamaged")


def test_steps_that_lose_another_are_a_missed_target() -> None:
    """By more than rounding."""
    assert DrillSpec().missed({**MET, "retraining_difference": 0.009}) == []
    assert "2.0%" in DrillSpec().missed({**MET, "retraining_difference": 0.02})[0]
