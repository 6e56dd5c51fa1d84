"""The first steps of a training, repeated from what is stored of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from operators.core.finetuning.rehearse import STEPS, retrain, why_not
from operators.core.storage import Result
from tests.core.finetuning.test_fine_tune import Place

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Result]:
    """A place, and a model that was trained there."""
    place = Place(tmp_path_factory.mktemp("trained"))
    return place, place.fine_tune()


def test_the_same_steps_lose_the_same(trained: tuple[Place, Result], tmp_path: Path) -> None:
    """To the bit on one machine."""
    place, result = trained
    done = retrain(place.store, place.settings, result.digest, tmp_path)

    assert why_not(result.manifest, tmp_path) is None
    assert done.steps == STEPS and done.difference == 0.0


def test_another_past_is_told(trained: tuple[Place, Result], tmp_path: Path) -> None:
    """Held against a training whose steps lost twice as much, the difference is no rounding."""
    place, result = trained
    history = json.loads(place.store.read(result.manifest.file("history.json")))
    history["step_losses"] = [2 * loss for loss in history["step_losses"]]
    changed = place.store.put_bytes("history.json", json.dumps(history).encode())
    files = tuple(changed if entry.name == "history.json" else entry for entry in result.manifest.files)
    other = place.store.put_manifest(dataclasses.replace(result.manifest, files=files))
    done = retrain(place.store, place.settings, other, tmp_path)

    assert done.difference > 0.4


def test_what_cannot_be_repeated_is_said(trained: tuple[Place, Result], tmp_path: Path) -> None:
    """Another revision of the code loses otherwise, and a GPU's training needs one."""
    _, result = trained
    older = dataclasses.replace(result.manifest, revision=1)
    on_gpus = dataclasses.replace(
        result.manifest, spec={**result.manifest.spec, "device": "cuda", "ranks": 64, "batch_size": 128}
    )

    assert "revision 1" in str(why_not(older, tmp_path))
    assert "64 GPUs" in str(why_not(on_gpus, tmp_path))
