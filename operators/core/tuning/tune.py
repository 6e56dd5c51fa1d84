"""Stage `tune`: trainings with other values, one after the other; the best one's values and model go on.

A trial is a training like any other, and how it went is a result: a search whose driver was lost asks for the same
trials again, and trains none of them twice, not even one that diverged. Nor does another night's on the same data.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from operators.core.errors import LossDiverged
from operators.core.manifest import Made, StageCall, canonical, spec_json
from operators.core.progress import Progress
from operators.core.storage import Result, Store
from operators.core.training.stopping import is_behind
from operators.core.tuning.spec import SearchSpec
from operators.core.tuning.suggestions import Suggestions, Values

REVISION = 3
TRIALS_NAME = "trials.json"
STARTUP_TRIALS = 4
"""Trials before the first that may be pruned."""
Train = Callable[[Mapping[str, Any], Progress], Result]
"""Trains with fields of the spec replaced; the model's `history.json` has its `held_out_losses`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One trial, as `trials.json` lists it."""

    values: Values
    losses: tuple[float, ...]
    """Held-out loss after each epoch; none where the training diverged."""
    is_pruned: bool
    training: Mapping[str, Any]
    """What was replaced in the training's spec: from it follows the run key that the model is found by."""
    model: str | None
    """Digest of its manifest."""

    @property
    def loss(self) -> float:
        """The lowest loss of any epoch, which is that of the model."""
        return min(self.losses, default=float("inf"))


def tune(
    store: Store,
    spec: SearchSpec,
    *,
    dataset: str,
    base_model: str,
    training: Mapping[str, Any],
    train: Train,
    progress: Progress,
) -> Result:
    """Return the search's result: facts `training` (what to replace in the spec), `loss`, `trials`, `pruned`, `ended`.

    `training` leads to the best trial's own model, which is found and not trained again; it is empty where no trial was
    asked for. The file `trials.json` lists all of them.

    Args:
        store: Holds inputs and result, and what every trial took.
        spec: What to search.
        dataset: Digest of the data set's manifest.
        base_model: Digest of the adopted base model's manifest.
        training: What else decides a trial's result: the spec that it starts from and the stage's revision, as JSON.
        train: Makes a trial's model, or finds it.
        progress: Told about trials, and the steps within.

    Raises:
        LossDiverged: That of every trial did.
        TrainingError: A trial could not be trained; those before it are kept.
    """
    call = StageCall(
        stage="tune",
        revision=REVISION,
        inputs=(store.as_input("dataset", dataset), store.as_input("base_model", base_model)),
        spec={"search": spec_json(spec), "training": dict(training)},
        seed=spec.seed,
    )
    return store.once(call, lambda: _made(store, *_Search(store, spec, call, train, progress).run()))


class _Search:
    def __init__(self, store: Store, spec: SearchSpec, call: StageCall, train: Train, progress: Progress) -> None:
        self._store, self._spec, self._call = store, spec, call
        self._train, self._progress = train, progress
        self._trials: list[Trial] = []

    def run(self) -> tuple[list[Trial], str]:
        """Return the trials, and what ended the search: `trials`, `budget` or `grid`."""
        suggestions = Suggestions(self._spec)
        # What this search took before its driver was lost counts too.
        spent = sum(account["seconds"] for account in self._store.accounts(self._call.run_key))
        while len(self._trials) < self._spec.trials:
            if spent >= self._spec.budget_seconds and self._trials:
                return self._trials, "budget"
            values = suggestions.ask()
            if values is None:
                return self._trials, "grid"
            started = time.monotonic()
            trial = self._try(values)
            suggestions.tell(trial.losses, is_pruned=trial.is_pruned)
            self._trials.append(trial)
            spent += self._account(time.monotonic() - started)
        return self._trials, "trials"

    def _try(self, values: Values) -> Trial:
        limits = self._limits()
        training = {**values, "held_out": self._spec.held_out, "give_up_above": limits}
        call = StageCall(
            stage="trial",
            revision=REVISION,
            inputs=self._call.inputs,
            spec={"training": self._call.spec["training"], "replaced": training},
        )
        facts = self._store.once(call, lambda: self._trained(training)).manifest.facts
        losses = tuple(facts["losses"])
        return Trial(
            values=values, losses=losses, is_pruned=is_behind(losses, limits), training=training, model=facts["model"]
        )

    def _trained(self, training: Mapping[str, Any]) -> Made:
        """Train; a search tries rates that are too high, so a loss that diverged is an answer and no failure."""
        number, best = len(self._trials) + 1, min((trial.loss for trial in self._trials), default=None)
        note = f"trial {number} of {self._spec.trials}" + (f", best loss {best:.4f}" if best is not None else "")
        try:
            result = self._train(training, lambda done, total, more: self._progress(done, total, f"{note}: {more}"))
        except LossDiverged:
            return Made(facts={"losses": [], "model": None})
        history = json.loads(self._store.read(result.manifest.file("history.json")))
        return Made(facts={"losses": history["held_out_losses"], "model": result.digest})

    def _limits(self) -> tuple[float, ...]:
        """Return the losses, by epoch, above which the next trial is given up: the median of those before it."""
        curves = [trial.losses for trial in self._trials if trial.losses]
        if not self._spec.prunes or len(curves) < STARTUP_TRIALS:
            return ()
        # Of the last epoch there is nothing left to save.
        epochs = max(map(len, curves)) - 1
        return tuple(statistics.median(_at(curves, epoch)) for epoch in range(epochs))

    def _account(self, seconds: float) -> float:
        seconds = round(seconds, 3)
        account = {"seconds": seconds, "task_id": "tune"}
        self._store.add_account(self._call.run_key, f"trial.{len(self._trials)}.{time.time_ns()}", account)
        return seconds


def _at(curves: Sequence[Sequence[float]], epoch: int) -> list[float]:
    """Return the lowest loss that each curve had reached by an epoch, of those that came so far."""
    return [min(curve[: epoch + 1]) for curve in curves if len(curve) > epoch]


def _made(store: Store, trials: list[Trial], ended: str) -> Made:
    whole = [trial for trial in trials if trial.model is not None]
    if trials and not whole:
        raise LossDiverged(f"all {len(trials)} trials diverged: lower the rates that the search may try")
    best = min(whole, key=lambda trial: trial.loss, default=None)
    file = store.put_bytes(TRIALS_NAME, canonical([asdict(trial) for trial in trials]))
    facts = {
        "training": {} if best is None else dict(best.training),
        "loss": None if best is None else best.loss,
        "trials": len(trials),
        "pruned": sum(trial.is_pruned for trial in trials),
        "diverged": len(trials) - len(whole),
        "ended": ended,
    }
    return Made(files=(file,), facts=facts)
