"""Stage `choose_candidate`: which candidate is released, by the recipe's budget, and why each other is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from operators.core.compression.measure_candidates import PARENT, read_report
from operators.core.compression.spec import BudgetSpec
from operators.core.errors import GateFailed
from operators.core.manifest import Made, StageCall, spec_json
from operators.core.storage import Result, Store

REVISION = 3
PAGE = "choice.html"
Figures = Mapping[str, Any]

OBJECTIVES = {
    "p50_ms": ("the fastest", "time"),
    "bytes": ("the smallest", "size"),
    "memory_bytes": ("the one with least memory", "memory"),
    "joules_per_1000": ("the one with least energy", "energy"),
}
"""What is said of the best by each figure, and what that figure is called."""


def choose_candidate(store: Store, measurement: str, spec: BudgetSpec) -> Result:
    """Return the choice: facts `chosen` and `candidates`, each with its figures, and a page with table and plot.

    Args:
        store: The store.
        measurement: Digest of the report on them.
        spec: What a candidate may cost.

    Raises:
        GateFailed: No candidate is within the budget; the message has the figures of each.
    """
    call = StageCall(
        stage="choose_candidate",
        revision=REVISION,
        inputs=(store.as_input("measurement", measurement),),
        spec=spec_json(spec),
    )

    def make() -> Made:
        from operators.core.compression.choice_page import render

        report = read_report(store, store.manifest(measurement))
        judged = choose(report["models"], spec)
        chosen = next(str(one["name"]) for one in judged if one["chosen"])
        parent = next(one for one in report["models"] if one["name"] == PARENT)
        page = store.put_bytes(PAGE, render(report, judged, parent, spec))
        return Made(files=(page,), facts={"chosen": chosen, "candidates": judged})

    return store.once(call, make)


def choose(measured: Sequence[Figures], spec: BudgetSpec) -> list[dict[str, Any]]:
    """Return every candidate's figures with `chosen`, `why` and `dominated_by`; exactly one is chosen.

    Raises:
        GateFailed: None is within the budget.
    """
    parent = next(one for one in measured if one["name"] == PARENT)
    candidates = [one for one in measured if one["name"] != PARENT]
    excesses = {one["name"]: _excess(one, parent, spec) for one in candidates}
    within = [one for one in candidates if not excesses[one["name"]]]
    if not within:
        raise GateFailed("no candidate is within the budget: " + "; ".join(f"{k}: {v}" for k, v in excesses.items()))
    best = min(within, key=lambda one: (one[spec.objective], one["p50_ms"], one["bytes"], one["name"]))
    return [
        {
            **one,
            "chosen": one is best,
            "dominated_by": _dominating(one, candidates),
            "why": excesses[one["name"]] or _within(one, best, parent, spec),
        }
        for one in candidates
    ]


def _dominating(one: Figures, candidates: Sequence[Figures]) -> str | None:
    """Return the name of a candidate that is no slower, no larger and no worse, and not the same; None: Pareto."""

    def costs(other: Figures) -> tuple[float, ...]:
        return (other["p50_ms"], other["bytes"], -other["score"])

    for other in candidates:
        pairs = list(zip(costs(other), costs(one), strict=True))
        if all(theirs <= ours for theirs, ours in pairs) and any(theirs < ours for theirs, ours in pairs):
            return str(other["name"])
    return None


def _within(one: Figures, best: Figures, parent: Figures, spec: BudgetSpec) -> str:
    speed, size = parent["p50_ms"] / one["p50_ms"], parent["bytes"] / one["bytes"]
    told = f"{speed:.1f}x as fast and {size:.1f}x smaller than its parent, within the budget: "
    praise, figure = OBJECTIVES[spec.objective]
    if one is best:
        return told + praise
    ratio = one[spec.objective] / best[spec.objective] if best[spec.objective] else 1.0
    return f"{told}{ratio:.2f}x the {figure} of {best['name']}"


def _excess(one: Figures, parent: Figures, spec: BudgetSpec) -> str:
    """Return in words what a candidate exceeds, empty where it is within the budget."""
    reasons = [one["overflow"]] if one.get("overflow") else []
    if one.get("first_bad_operator"):
        reasons.append(f"computes something else than its parent from {one['first_bad_operator']} on")
    if (drop := parent["score"] - one["score"]) > spec.max_score_drop + 1e-12:
        name = one["measure"].replace("_", " ")
        reasons.append(f"{name} falls by {drop:.4f}, at most {spec.max_score_drop:g} is allowed")
    if one["agreement"] < spec.min_agreement:
        reasons.append(
            f"agrees with its parent on {one['agreement']:.4f} of the rows, {spec.min_agreement:g} is needed"
        )
    for name, most, told in (
        ("bytes", spec.max_bytes, "bytes"),
        ("p99_ms", spec.max_p99_ms, "ms for one text in a hundred"),
        ("memory_bytes", spec.max_memory_bytes, "bytes of memory"),
    ):
        if most is not None and one[name] > most:
            reasons.append(f"{one[name]} {told}, at most {most} are allowed")
    return ", ".join(reasons)
