"""What a recipe may ask of a model beside its score: no part of the rows behind, sure of itself only where right."""

from __future__ import annotations

import json
from typing import Any

from operators.core.evaluation.spec import GateSpec
from operators.core.manifest import Manifest
from operators.core.storage import Store


def below_floors(store: Store, judged: Manifest, spec: GateSpec) -> list[str]:
    """Return in words what of an evaluation a gate's further floors refuse, nothing where it has none.

    What was not measured is refused: a floor that nothing is held against would be none.
    """
    reasons = []
    error, stays = judged.facts.get("calibration_error"), judged.facts.get("stays")
    if spec.max_calibration_error is not None and (error is None or error > spec.max_calibration_error):
        reasons.append(f"calibration error {_told(error)}, at most {spec.max_calibration_error:g} is allowed")
    if spec.min_stays is not None and (stays is None or stays < spec.min_stays):
        reasons.append(f"the share of answers that stay is {_told(stays)}, the floor is {spec.min_stays:g}")
    if spec.min_slice_score is not None:
        report = json.loads(store.read(judged.file("report.json")))
        reasons += [_left_behind(one, spec.min_slice_score) for one in report["slices"] if _is_below(one, spec)]
    return reasons


def _is_below(one: dict[str, Any], spec: GateSpec) -> bool:
    """Say whether a part of the rows is below the floor, and chance does not explain it.

    Of many parts one is always low: so it is the upper end of its range that counts.
    """
    return not one["is_small"] and spec.min_slice_score is not None and one["high"] < spec.min_slice_score


def _left_behind(one: dict[str, Any], floor: float) -> str:
    return (
        f"score {one['score']:.4f} ({one['low']:.4f} to {one['high']:.4f}) on {one['rows']} rows of {one['by']} "
        f"{one['name']!r} is below the floor of {floor:g} for every part"
    )


def _told(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
