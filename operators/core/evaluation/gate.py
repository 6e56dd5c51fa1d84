"""Stage `gate`: whether a model may go live, judged beside what is live on the same rows.

Reading the live release is not pure; the verdict is. It is a stage whose inputs are the evaluations it compares.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from operators.core.errors import DataError, GateFailed
from operators.core.evaluation.paired import Paired, compare
from operators.core.evaluation.spec import GateSpec
from operators.core.manifest import Input, Made, Manifest, StageCall, canonical, spec_json
from operators.core.signing import SIGNED_BY, Signer
from operators.core.storage import Result, Store

REVISION = 6
REGRESSIONS_NAME = "regressions.json"
"""Ids of the rows that the live model has right and the candidate has not."""

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


def gate(store: Store, evaluation: str, *, recipe: str, spec: GateSpec, evaluate: Evaluate, signer: Signer) -> Result:
    """Return the signed verdict that lets a model go live; a verdict against it is kept too, then raised.

    Args:
        store: The store.
        evaluation: Digest of the candidate's evaluation.
        recipe: The recipe's name; its release stream says what is live.
        spec: Floor and allowed drop.
        evaluate: Evaluates the live model on the candidate's rows where that is needed.
        signer: Signs the verdict, without which nothing is deployed.

    Raises:
        GateFailed: The model is below the floor, or too far below what is live.
    """
    judged = store.manifest(evaluation)
    model, dataset = judged.input("model"), judged.input("dataset")
    if model.manifest is None or dataset.manifest is None:
        raise DataError(f"the evaluation {evaluation[:12]} names no model or data set in the store: evaluate again")
    day = str(store.manifest(dataset.manifest).facts["day"])
    live = _read_live(store, recipe)
    comparison = _comparison(live, model, day)
    inputs = [store.as_input("evaluation", evaluation)]
    reference: Manifest | None = None
    if live and comparison is Comparison.LIVE_MODEL and live.model.manifest:
        made = evaluate(live.model.manifest, dataset.manifest)
        reference = made.manifest
        inputs.append(store.as_input("live_evaluation", made.digest))
    elif live:
        inputs.append(live.model)
    call = StageCall(
        stage="gate",
        revision=REVISION,
        inputs=tuple(inputs),
        spec={**spec_json(spec), "recipe": recipe, "comparison": comparison.value, SIGNED_BY: signer.public_key},
    )
    paired = compare(store, judged, reference) if reference else None
    reasons = _reasons(judged, reference, paired, spec, comparison)
    facts: dict[str, Any] = {
        "verdict": "failed" if reasons else "passed",
        "reasons": reasons,
        "comparison": comparison.value,
        "recipe": recipe,
        "day": day,
        "model": model.manifest,
        "live": live.model.manifest if live else None,
        "measure": judged.facts["measure"],
        "score": judged.facts["score"],
        "live_score": reference.facts["score"] if reference else None,
    }
    if paired:
        facts["rows"] = {"better": paired.better, "worse": len(paired.worse), "chance": round(paired.chance, 6)}
    verdict = store.once(call, lambda: signer.sign(store, call, _made(store, facts, paired)))
    if verdict.manifest.facts["verdict"] != "passed":
        raise GateFailed(
            "; ".join(verdict.manifest.facts["reasons"])
            + f". What is live stays live; the verdict is {verdict.digest}. Look at the data and the evaluation, or "
            "set another floor if this one is wrong"
        )
    return verdict


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


def _reasons(
    judged: Manifest, reference: Manifest | None, paired: Paired | None, spec: GateSpec, comparison: Comparison
) -> list[str]:
    """Return in words why a model may not go live, nothing where it may."""
    if comparison is Comparison.SAME_MODEL:
        return []
    name, score = judged.facts["measure"].replace("_", " "), float(judged.facts["score"])
    reasons = []
    if score < spec.min_score:
        reasons.append(f"{name} {score:.4f} is below the floor of {spec.min_score:g}")
    if reference is not None and paired is not None:
        live = float(reference.facts["score"])
        told = f"{name} {score:.4f} is {live - score:.4f} below the live model's {live:.4f} on the same rows"
        if live - score > spec.max_score_drop + 1e-12:
            reasons.append(f"{told}, at most {spec.max_score_drop:g} is allowed")
        elif live - score >= spec.min_effect and paired.chance < spec.max_chance:
            reasons.append(
                f"{told}, which chance explains with {paired.chance:.2g}: {len(paired.worse)} rows got worse and "
                f"{paired.better} better"
            )
    return reasons
