"""Stage `compress`: the fastest candidate within the budget, chosen from a report that stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from operators.core.compression.measure_candidates import PARENT, read_report
from operators.core.compression.spec import BudgetSpec
from operators.core.errors import GateFailed
from operators.core.manifest import Made, StageCall, spec_json
from operators.core.storage import Result, Store

REVISION = 10


def compress(store: Store, candidates: str, measurement: str, spec: BudgetSpec) -> Result:
    """Return the chosen candidate as a model of its own; its files are the candidate's, not uploaded again.

    Args:
        store: The store.
        candidates: Digest of what `make_candidates` made.
        measurement: Digest of the report on them.
        spec: What a candidate may cost.

    Raises:
        GateFailed: No candidate is within the budget; the message has the figures of each.
    """
    call = StageCall(
        stage="compress",
        revision=REVISION,
        inputs=(store.as_input("candidates", candidates), store.as_input("measurement", measurement)),
        spec=spec_json(spec),
    )

    def make() -> Made:
        judged = choose(read_report(store, store.manifest(measurement))["models"], spec)
        chosen = next(str(one["name"]) for one in judged if one["chosen"])
        files = tuple(
            replace(entry, name=entry.name.removeprefix(f"{chosen}/"))
            for entry in store.manifest(candidates).files
            if entry.name.startswith(f"{chosen}/")
        )
        return Made(files=files, facts={"chosen": chosen, "candidates": judged})

    return store.once(call, make)


def choose(measured: list[dict[str, Any]], spec: BudgetSpec) -> list[dict[str, Any]]:
    """Return every candidate's figures with `chosen` and `why`; exactly one is chosen.

    Raises:
        GateFailed: None is within the budget.
    """
    parent = next(one for one in measured if one["name"] == PARENT)
    candidates = [one for one in measured if one["name"] != PARENT]
    excesses = {one["name"]: _excess(one, parent, spec) for one in candidates}
    within = [one for one in candidates if not excesses[one["name"]]]
    if not within:
        raise GateFailed("no candidate is within the budget: " + "; ".join(f"{k}: {v}" for k, v in excesses.items()))
    best = min(within, key=lambda one: (one["p50_ms"], one["bytes"], one["name"]))
    judged = []
    for one in candidates:
        is_chosen = one["name"] == best["name"]
        why = excesses[one["name"]] or (
            f"{_compared(one, parent)}, within the budget"
            + (": the fastest" if is_chosen else ", slower than the fastest")
        )
        judged.append({**one, "chosen": is_chosen, "why": why})
    return judged


def _compared(one: Mapping[str, Any], parent: Mapping[str, Any]) -> str:
    speed, size = parent["p50_ms"] / one["p50_ms"], parent["bytes"] / one["bytes"]
    return f"{speed:.1f}x as fast and {size:.1f}x smaller than its parent"


def _excess(one: Mapping[str, Any], parent: Mapping[str, Any], spec: BudgetSpec) -> str:
    """Return in words what a candidate exceeds, empty where it is within the budget."""
    reasons = []
    if (drop := parent["score"] - one["score"]) > spec.max_score_drop + 1e-12:
        name = one["measure"].replace("_", " ")
        reasons.append(f"{name} falls by {drop:.4f}, at most {spec.max_score_drop:g} is allowed")
    if one["agreement"] < spec.min_agreement:
        reasons.append(
            f"agrees with its parent on {one['agreement']:.4f} of the rows, {spec.min_agreement:g} is needed"
        )
    if spec.max_bytes is not None and one["bytes"] > spec.max_bytes:
        reasons.append(f"{one['bytes']} bytes, at most {spec.max_bytes} are allowed")
    return ", ".join(reasons)
