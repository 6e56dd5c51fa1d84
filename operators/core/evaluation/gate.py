"""Stage `gate`: whether a model may go live, judged beside what is live on the same rows.

Reading the live release is not pure; the verdict is. It is a stage whose inputs are the evaluations it compares.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from operators.core.errors import DataError, GateFailed
from operators.core.evaluation.floors import below_floors
from operators.core.evaluation.forgetting import Forgetting, GoldenSet, find_golden, measure_forgetting
from operators.core.evaluation.paired import Paired, compare
from operators.core.evaluation.spec import GateSpec
from operators.core.manifest import Input, Made, Manifest, StageCall, canonical, spec_json
from operators.core.signing import SIGNED_BY, Signer
from operators.core.storage import Result, Store

REVISION = 12
REGRESSIONS_NAME = "regressions.json"
"""Ids of the rows that the live model has right and the candidate has not."""

ROUNDING = 1e-12
"""A loss of exactly what is allowed is allowed, whatever the last bit says."""

Evaluate = Callable[[str, str], Result]
"""(model digest, data set digest) -> its evaluation, found or made."""


class Comparison(enum.Enum):
    """Against what a model is held."""

    NOTHING_LIVE = "nothing_live"
    SAME_MODEL = "same_model"
    """The model is the live one: nothing to compare."""
    LATER_DAY_LIVE = "later_day_live"
    """What is live saw later data: an older day is held to the floor only."""
    LIVE_MODEL = "live_model"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Live:
    """What is live, as far as the gate cares."""

    model: Input
    day: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Held:
    """What a model is held against, and how it fares."""

    comparison: Comparison
    live: _Live | None
    inputs: tuple[Input, ...] = ()
    reference: Manifest | None = None
    """The live model's evaluation on the same rows."""
    paired: Paired | None = None
    golden: GoldenSet | None = None
    forgetting: Forgetting | None = None


def gate(store: Store, evaluation: str, *, recipe: str, spec: GateSpec, evaluate: Evaluate, signer: Signer) -> Result:
    """Return the signed verdict that lets a model go live; a verdict against it is kept too, then raised.

    Args:
        store: The store.
        evaluation: Digest of the candidate's evaluation.
        recipe: The recipe's name; its release stream says what is live.
        spec: Floor and allowed drops.
        evaluate: Evaluates the live model on the candidate's rows, and the candidate on a golden set, where needed.
        signer: Signs the verdict, without which nothing is deployed.

    Raises:
        GateFailed: The model is below a floor, too far below what is live, or has forgotten too much.
    """
    judged = store.manifest(evaluation)
    model, dataset = (judged.input(role).manifest for role in ("model", "dataset"))
    if model is None or dataset is None:
        raise DataError(f"the evaluation {evaluation[:12]} names no model or data set in the store: evaluate again")
    day = str(store.manifest(dataset).facts["day"])
    held = _hold(store, judged, model, dataset, recipe, evaluate)
    call = StageCall(
        stage="gate",
        revision=REVISION,
        inputs=(store.as_input("evaluation", evaluation), *held.inputs),
        spec={
            **spec_json(spec),
            "recipe": recipe,
            "comparison": held.comparison.value,
            "golden_rows": held.golden.rows_digest if held.golden else None,
            SIGNED_BY: signer.public_key,
        },
    )
    # What is live is not judged again.
    is_live = held.comparison is Comparison.SAME_MODEL
    reasons = [] if is_live else [*_reasons(judged, held, spec), *below_floors(store, judged, spec)]
    facts = {"recipe": recipe, "day": day, "model": model, **_facts(judged, held, reasons)}
    verdict = store.once(call, lambda: signer.sign(store, call, _made(store, facts, held.paired)))
    if verdict.manifest.facts["verdict"] != "passed":
        raise GateFailed(
            "; ".join(verdict.manifest.facts["reasons"])
            + f". What is live stays live; the verdict is {verdict.digest}. Look at the data and the evaluation, or "
            "set another floor if this one is wrong"
        )
    return verdict


def _hold(store: Store, judged: Manifest, model: str, dataset: str, recipe: str, evaluate: Evaluate) -> _Held:
    """Hold a model against what is live, and against the golden set, where it has to be."""
    live = _read_live(store, recipe)
    comparison = _comparison(live, judged.input("model"), str(store.manifest(dataset).facts["day"]))
    if live is None or live.model.manifest is None or comparison is not Comparison.LIVE_MODEL:
        return _Held(comparison=comparison, live=live, inputs=(live.model,) if live else ())
    reference = evaluate(live.model.manifest, dataset)
    inputs = [store.as_input("live_evaluation", reference.digest)]
    forgetting = None
    if golden := find_golden(store, recipe, store.manifest(dataset)):
        now = evaluate(model, golden.dataset)
        inputs += [
            store.as_input("golden_evaluation", now.digest),
            store.as_input("golden_reference", golden.evaluation),
        ]
        forgetting = measure_forgetting(store, golden, now.manifest)
    return _Held(
        comparison=comparison,
        live=live,
        inputs=tuple(inputs),
        reference=reference.manifest,
        paired=compare(store, judged, reference.manifest),
        golden=golden,
        forgetting=forgetting,
    )


def _facts(judged: Manifest, held: _Held, reasons: list[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "verdict": "failed" if reasons else "passed",
        "reasons": reasons,
        "comparison": held.comparison.value,
        "live": held.live.model.manifest if held.live else None,
        "measure": judged.facts["measure"],
        "score": judged.facts["score"],
        "live_score": held.reference.facts["score"] if held.reference else None,
    }
    if held.paired:
        facts["rows"] = _counts(held.paired)
    if found := held.forgetting:
        facts["forgetting"] = {
            "day": found.day, "rows": found.rows, "then": found.then, "now": found.now, **_counts(found.paired),
        }  # fmt: skip
    return facts


def _counts(paired: Paired) -> dict[str, Any]:
    return {"better": paired.better, "worse": len(paired.worse), "chance": round(paired.chance, 6)}


def _made(store: Store, facts: dict[str, Any], paired: Paired | None) -> Made:
    files = (store.put_bytes(REGRESSIONS_NAME, canonical(paired.worse)),) if paired else ()
    return Made(files=files, facts=facts)


def _read_live(store: Store, recipe: str) -> _Live | None:
    head = store.stream(f"release-{recipe}").head()
    if head is None:
        return None
    release = store.manifest(head.manifest)
    model = release.input("model")
    return _Live(
        model=Input(role="live_model", identity=model.identity, manifest=model.manifest), day=str(release.facts["day"])
    )


def _comparison(live: _Live | None, model: Input, day: str) -> Comparison:
    if live is None:
        return Comparison.NOTHING_LIVE
    if live.model.identity == model.identity:
        return Comparison.SAME_MODEL
    return Comparison.LATER_DAY_LIVE if live.day > day else Comparison.LIVE_MODEL


def _reasons(judged: Manifest, held: _Held, spec: GateSpec) -> list[str]:
    """Return in words why a model's score does not let it go live, nothing where it does."""
    name, score = judged.facts["measure"].replace("_", " "), float(judged.facts["score"])
    reasons = []
    if score < spec.min_score:
        reasons.append(f"{name} {score:.4f} is below the floor of {spec.min_score:g}")
    if held.reference is not None and held.paired is not None:
        reasons += _worse_than_live(name, score, float(held.reference.facts["score"]), held.paired, spec)
    found = held.forgetting
    if found is not None and found.lost > spec.max_forgetting + ROUNDING and found.paired.chance < spec.max_chance:
        reasons.append(
            f"{name} {found.now:.4f} on {found.rows} test rows of {found.day} is {found.lost:.4f} below the "
            f"{found.then:.4f} of the model that went live then, at most {spec.max_forgetting:g} may be forgotten"
        )
    return reasons


def _worse_than_live(name: str, score: float, live: float, paired: Paired, spec: GateSpec) -> list[str]:
    told = f"{name} {score:.4f} is {live - score:.4f} below the live model's {live:.4f} on the same rows"
    if live - score > spec.max_score_drop + ROUNDING:
        return [f"{told}, at most {spec.max_score_drop:g} is allowed"]
    if live - score >= spec.min_effect and paired.chance < spec.max_chance:
        return [
            f"{told}, which chance explains with {paired.chance:.2g}: {len(paired.worse)} rows got worse and "
            f"{paired.better} better"
        ]
    return []
