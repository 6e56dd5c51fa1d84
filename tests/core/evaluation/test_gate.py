"""What the gate lets through, by what is live."""

from __future__ import annotations

import pytest

from operators.core.errors import GateFailed
from operators.core.evaluation.gate import gate
from operators.core.evaluation.spec import GateSpec
from operators.core.signing import check_signature
from operators.core.storage import Result, Store
from tests.core.deployment.tiny import (
    GOOD,
    INVERTED,
    RECIPE,
    tiny_dataset,
    tiny_evaluation,
    tiny_model,
    tiny_release,
)
from tests.core.signers import SIGNER, STRANGER, TRUSTED

DAY = "2002-09-26"
SPEC = GateSpec(min_score=0.9, max_score_drop=0.01)


class Judge:
    """A store with a candidate of some accuracy, and what is live of some other."""

    def __init__(self, store: Store, accuracy: float, live_accuracy: float = 0.97) -> None:
        self.store, self._live_accuracy = store, live_accuracy
        self.model = tiny_model(store, GOOD)
        self.dataset = tiny_dataset(store, DAY)
        self.evaluation = tiny_evaluation(store, self.model, self.dataset, accuracy)
        self.signer = SIGNER
        self.asked: list[tuple[str, str]] = []

    def evaluate(self, model: str, dataset: str) -> Result:
        """Evaluate the live model: the gate asks for this only where it compares."""
        self.asked.append((model, dataset))
        digest = tiny_evaluation(self.store, model, dataset, self._live_accuracy)
        return Result(digest=digest, manifest=self.store.manifest(digest), found=True)

    def verdict(self) -> Result:
        """Run the gate."""
        return gate(self.store, self.evaluation, recipe=RECIPE, spec=SPEC, evaluate=self.evaluate, signer=self.signer)


def test_nothing_live_is_held_to_the_floor_only(store: Store) -> None:
    """The first model needs the floor and nothing else."""
    judge = Judge(store, 0.91)
    facts = judge.verdict().manifest.facts

    assert ("passed", "nothing_live", judge.model, None) == (
        facts["verdict"], facts["comparison"], facts["model"], facts["live"],
    )  # fmt: skip
    assert judge.asked == []


def test_below_the_floor_fails_and_the_verdict_is_kept(store: Store) -> None:
    """A model below the floor is refused with both figures, and its verdict stays in the store."""
    with pytest.raises(
        GateFailed, match=r"0\.8900 is below the floor of 0\.9.*the verdict is ([0-9a-f]{64})"
    ) as caught:
        Judge(store, 0.89).verdict()

    digest = str(caught.value).split("the verdict is ")[1][:64]
    assert store.manifest(digest).facts["verdict"] == "failed"


def test_a_failed_verdict_fails_again_when_found(store: Store) -> None:
    """A retry finds the verdict and is refused as before."""
    judge = Judge(store, 0.89)
    for _ in range(2):
        with pytest.raises(GateFailed):
            judge.verdict()


def test_the_live_model_itself_passes_without_a_comparison(store: Store) -> None:
    """What is live passes, whatever the floor has become since."""
    judge = Judge(store, 0.5)
    tiny_release(store, judge.model, DAY)

    assert judge.verdict().manifest.facts["comparison"] == "same_model"
    assert judge.asked == []


def test_a_small_drop_against_the_live_model_passes(store: Store) -> None:
    """A drop of exactly what is allowed passes, measured on the candidate's rows."""
    judge = Judge(store, 0.96, live_accuracy=0.97)
    live = tiny_model(store, INVERTED)
    tiny_release(store, live, "2002-09-25")
    facts = judge.verdict().manifest.facts

    assert ("passed", "live_model", 0.97, live) == (
        facts["verdict"], facts["comparison"], facts["live_score"], facts["live"],
    )  # fmt: skip
    assert [(live, judge.dataset)] == judge.asked


def test_a_large_drop_against_the_live_model_fails(store: Store) -> None:
    """More than the allowed drop is refused, with both figures."""
    judge = Judge(store, 0.95, live_accuracy=0.97)
    tiny_release(store, tiny_model(store, INVERTED), "2002-09-25")

    with pytest.raises(GateFailed, match=r"0\.0200 below the live model's 0\.9700"):
        judge.verdict()


def test_an_older_day_is_held_to_the_floor_only(store: Store) -> None:
    """When a later day is live, an older day's model is not compared with it."""
    judge = Judge(store, 0.91, live_accuracy=0.99)
    tiny_release(store, tiny_model(store, INVERTED), "2002-09-27")

    assert judge.verdict().manifest.facts["comparison"] == "later_day_live"
    assert judge.asked == []


def test_a_verdict_is_signed_and_another_key_makes_another(store: Store) -> None:
    """A retry finds what was signed; after a change of keys the gate is run anew rather than found."""
    judge = Judge(store, 0.95)
    first, again = judge.verdict(), judge.verdict()
    check_signature(store, first.digest, TRUSTED)
    judge.signer = STRANGER

    assert (first.digest, True) == (again.digest, again.found)
    assert not judge.verdict().found
