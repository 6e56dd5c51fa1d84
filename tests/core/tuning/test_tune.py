"""A search is the same at every try, trains no trial twice, and hands on the best one's own model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operators.core.errors import LossDiverged, WorkerLost
from operators.core.manifest import Made, StageCall, canonical
from operators.core.progress import Progress, no_progress
from operators.core.recipe import Recipe
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Result, Store, initialise, open_store
from operators.core.training.spec import AdapterSpec
from operators.core.tuning.spec import Choices, Range, SearchSpec
from operators.core.tuning.tune import TRIALS_NAME, tune
from operators.recipes import load_recipe

RATE = Range("encoder_rate", 1e-5, 1e-1, is_log=True)
SPEC = SearchSpec(space=(RATE, Choices("batch_size", (16, 32))), trials=12)
EPOCHS = 3


class Trainer:
    """Trainings in a store whose loss follows from their values: lowest at a rate of 1e-3 and the smaller batch."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.trained = 0
        self.fails_at = 10**9
        self.data = {name: store.once(StageCall(stage=name, revision=1), Made).digest for name in ("data", "base")}

    def __call__(self, fields: Mapping[str, Any], progress: Progress) -> Result:
        return self.store.once(StageCall(stage="training", revision=1, spec=dict(fields)), lambda: self._make(fields))

    def _make(self, fields: Mapping[str, Any]) -> Made:
        if self.trained == self.fails_at:
            raise WorkerLost("the driver is gone")
        self.trained += 1
        if fields["encoder_rate"] > 5e-2:
            raise LossDiverged("too high")
        distance = abs(math.log10(fields["encoder_rate"]) + 3) + fields["batch_size"] / 100
        losses: list[float] = []
        for epoch in range(EPOCHS):
            losses.append(distance + 1 / (epoch + 1))
            if epoch < len(fields["give_up_above"]) and min(losses) > fields["give_up_above"][epoch]:
                break
        document = canonical({"held_out_losses": losses})
        return Made(files=(self.store.put_bytes("history.json", document),))

    def search(self, spec: SearchSpec = SPEC) -> Result:
        """Search with these trainings."""
        inputs = {"dataset": self.data["data"], "base_model": self.data["base"]}
        return tune(self.store, spec, **inputs, training={}, train=self, progress=no_progress)

    def trials(self, result: Result) -> list[dict[str, Any]]:
        """Return the trials of a search."""
        trials: list[dict[str, Any]] = json.loads(self.store.read(result.manifest.file(TRIALS_NAME)))
        return trials


@pytest.fixture
def trainer(store: Store) -> Trainer:
    """A trainer that has trained nothing."""
    return Trainer(store)


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """Another, with a store of its own."""
    endpoint = EndpointSettings(name="a", url=tmp_path_factory.mktemp("elsewhere").as_uri())
    settings = StorageSettings(endpoints=(endpoint,), acknowledge=1)
    initialise(settings, rounds=0)
    return Trainer(open_store(settings))


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_the_best_trial_goes_on(trainer: Trainer, method: Any) -> None:
    """What is handed on leads to the model with the lowest loss of all, and that is not trained again."""
    result = trainer.search(replace(SPEC, method=method))
    trials, facts = trainer.trials(result), result.manifest.facts
    trained = trainer.trained
    model = trainer(facts["training"], no_progress)

    best = min((trial for trial in trials if trial["losses"]), key=lambda trial: min(trial["losses"]))
    assert (facts["loss"], facts["training"]) == (min(best["losses"]), best["training"])
    assert (model.digest, model.found, trainer.trained) == (best["model"], True, trained)
    assert (facts["trials"], facts["ended"]) == (12, "trials")


def test_tpe_draws_near_what_was_good(trainer: Trainer) -> None:
    """The later half of its trials is better than the first."""
    trials = trainer.trials(trainer.search(replace(SPEC, trials=40, prunes=False)))
    losses = [min(trial["losses"], default=10.0) for trial in trials]

    assert sorted(losses[20:])[10] < sorted(losses[:20])[10]


def test_a_search_whose_driver_was_lost_repeats_no_trial(trainer: Trainer) -> None:
    """Lost after any trial it goes on with the next, and ends as if it had not been lost; some of them diverged."""
    calm = Trainer(trainer.store)
    spec = replace(SPEC, space=(Range("encoder_rate", 1e-3, 1e-1, is_log=True), SPEC.space[1]))
    for fails_at in range(spec.trials):
        trainer.fails_at = fails_at
        with pytest.raises(WorkerLost):
            trainer.search(spec)
    trainer.fails_at = 10**9
    result = trainer.search(spec)
    again = calm.search(spec)

    assert trainer.trained == spec.trials and result.manifest.facts["diverged"] > 0
    assert (again.digest, again.found, calm.trained) == (result.digest, True, 0)


def test_the_same_search_elsewhere_tries_the_same(trainer: Trainer, elsewhere: Trainer) -> None:
    """Nothing but spec, data and losses decides what is tried."""
    assert elsewhere.trials(elsewhere.search()) == trainer.trials(trainer.search())


def test_what_falls_behind_is_pruned(trainer: Trainer) -> None:
    """After four trials one that is worse than half of them ends early; none of the first four does."""
    pruned = trainer.trials(trainer.search())
    whole = trainer.trials(trainer.search(replace(SPEC, prunes=False)))

    assert {len(trial["losses"]) for trial in whole} <= {0, EPOCHS}
    assert not any(trial["is_pruned"] for trial in [*whole, *pruned[:4]])
    behind = [trial for trial in pruned if trial["is_pruned"]]
    assert behind
    for trial in behind:
        epoch = len(trial["losses"]) - 1
        assert min(trial["losses"]) > trial["training"]["give_up_above"][epoch]


def test_a_grid_takes_every_point_once(trainer: Trainer) -> None:
    """In the order of its choices; what is left of the trials is not used up."""
    space = (Choices("encoder_rate", (1e-4, 1e-3)), Choices("batch_size", (16, 32)))
    result = trainer.search(SearchSpec(space=space, trials=12, method="grid"))

    points = [(trial["values"]["encoder_rate"], trial["values"]["batch_size"]) for trial in trainer.trials(result)]
    assert points == [(1e-4, 16), (1e-4, 32), (1e-3, 16), (1e-3, 32)]
    assert result.manifest.facts["ended"] == "grid"
    assert result.manifest.facts["training"]["encoder_rate"] == 1e-3


def test_no_trial_begins_once_the_budget_is_spent(trainer: Trainer, elsewhere: Trainer) -> None:
    """What tries before took counts too; one trial there always is."""
    spec = replace(SPEC, budget_seconds=1000)
    free = elsewhere.search(spec).manifest
    trainer.store.add_account(free.run_key, "trial.1.1", {"seconds": 1000.0})
    spent = trainer.search(spec).manifest

    assert (free.facts["trials"], free.facts["ended"]) == (12, "trials")
    assert (spent.facts["trials"], spent.facts["ended"]) == (1, "budget")
    assert len(elsewhere.store.accounts(free.run_key)) == 12


def test_a_trial_that_diverges_is_an_answer(trainer: Trainer) -> None:
    """The search goes on; only where every trial does it fails, and says what to do."""
    rates = Choices("encoder_rate", (9e-2, 1e-3))
    result = trainer.search(SearchSpec(space=(rates, Choices("batch_size", (16, 32))), trials=9, method="grid"))

    assert result.manifest.facts["diverged"] == 2
    with pytest.raises(LossDiverged, match="all 3 trials diverged: lower the rates"):
        trainer.search(SearchSpec(space=(Range("encoder_rate", 6e-2, 9e-2), SPEC.space[1]), trials=3))


def test_without_trials_nothing_is_trained(trainer: Trainer) -> None:
    """The result replaces nothing in the spec."""
    result = trainer.search(replace(SPEC, trials=0))

    assert (dict(result.manifest.facts["training"]), trainer.trained) == ({}, 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": ()}, "one field at least"),
        ({"space": (RATE, RATE)}, "each once"),
        ({"method": "luck"}, "method='luck'"),
        ({"trials": 1001}, "trials=1001"),
        ({"held_out": 0.0}, "held_out=0"),
        ({"budget_seconds": 0}, "budget_seconds=0"),
        ({"method": "grid"}, r"give choices for \['encoder_rate'\]"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(changes: dict[str, Any], words: str) -> None:
    """The message names the value and what to write instead."""
    with pytest.raises(ValueError, match=words):
        replace(SPEC, **changes)


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        (Range("encoder_rate", 1e-5, 1.0), "encoder_rate=1.0: choose"),
        (Choices("schedule", ("linear", "steep")), "schedule='steep'"),
        (Choices("checkpoint_steps", (10, 20)), "no field of the training's spec that changes a model"),
        (Choices("colour", (1, 2)), "'colour' is no field"),
        (Choices("adapter", ("lora", "adalora")), "give an AdapterSpec"),
        (Choices("adapter.lora_rank", (4, 8)), "'adapter.lora_rank' is no field"),
    ],
)
def test_a_recipe_refuses_what_its_training_cannot_take(parameter: Choices | Range, words: str) -> None:
    """When it is loaded, not in the fortieth trial."""
    recipe: Recipe = load_recipe(Path(__file__).parents[3] / "dags" / "recipes" / "mail_triage.py")
    with pytest.raises(ValueError, match=words):
        replace(recipe, search=SearchSpec(space=(parameter,)))


def test_a_search_may_try_values_of_an_adapter() -> None:
    """Each is held against the adapter's own ranges, and put into it."""
    recipe: Recipe = load_recipe(Path(__file__).parents[3] / "dags" / "recipes" / "mail_triage.py")
    adapted = replace(recipe, training=replace(recipe.training, adapter=AdapterSpec()))
    space = (Choices("adapter.lora_rank", (4, 8)), Choices("epochs", (1, 2)))

    assert replace(adapted, search=SearchSpec(space=space)).search is not None
    assert adapted.training.replaced({"adapter.lora_rank": 4, "epochs": 1}) == replace(
        recipe.training, adapter=AdapterSpec(lora_rank=4), epochs=1
    )
    with pytest.raises(ValueError, match="lora_rank=0"):
        replace(adapted, search=SearchSpec(space=(Choices("adapter.lora_rank", (0, 8)),)))


@pytest.mark.parametrize(
    "make", [lambda: Range("a", 2, 1), lambda: Range("a", 0.0, 1, True), lambda: Choices("a", (1,))]
)
def test_a_parameter_that_leaves_no_choice_is_refused(make: Any) -> None:
    """A range has two ends, a logarithm none at 0, and a choice two values."""
    with pytest.raises(ValueError, match="search: a"):
        make()
