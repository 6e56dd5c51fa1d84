"""A drill: a rehearsed recovery, its answers and first steps held against production's, all of it on record."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operators.core.errors import NightshiftError
from operators.core.progress import Progress, no_progress

if TYPE_CHECKING:
    from operators.core.manifest import Manifest
    from operators.core.recipe import Recipe
    from operators.core.recovery.drill import Rehearsal
    from operators.core.recovery.kit import RecoveryKit
    from operators.core.recovery.spec import DrillSpec
    from operators.core.settings import ServingSettings
    from operators.core.storage import Store

_PRODUCTION_SECONDS = 30.0
"""How long a production server may be away before its answer is not compared."""


def drill(
    store: Store,
    kit: RecoveryKit,
    folder: Path,
    spec: DrillSpec,
    *,
    recipes: Sequence[Recipe],
    serving: ServingSettings,
    progress: Progress = no_progress,
) -> Manifest:
    """Restore the newest backup into a folder, verify it, ask it, train on it, and append what came of it to `drill`.

    A drill that comes to nothing is on record too, with the reason.

    Args:
        store: The platform's store: takes the record, and says what time it is.
        kit: All of the platform that the restore is given.
        folder: Empty.
        spec: What a recovery may cost.
        recipes: Whose examples are asked, where a release of theirs is live.
        serving: Production's servers.
        progress: Told of every object, in bytes.
    """
    from operators.core.recovery.drill import record_drill, rehearse

    try:
        with rehearse(kit, folder / "place", store.membership.clock(), progress) as rehearsal:
            compared = _compare(rehearsal, folder, recipes, serving, kit.trusted)
            # After the first answer: nobody who waits for one waits for this.
            retrained = _retrain(rehearsal, folder, recipes, progress)
            facts: dict[str, Any] = {**rehearsal.facts, **compared, **retrained}
    except NightshiftError as error:
        facts = {"error": f"{type(error).__name__}: {error}"[:500]}
    return record_drill(store, facts, spec)


def _compare(
    rehearsal: Rehearsal,
    folder: Path,
    recipes: Sequence[Recipe],
    serving: ServingSettings,
    trusted: Sequence[str],
) -> Mapping[str, Any]:
    """Return the time to the first answer of the restored place, and how many answers are not production's."""
    from operators.core.deployment.rehearsal import answers_from
    from operators.core.storage import open_store

    rto, compared, different = None, 0, 0
    place = open_store(rehearsal.settings)
    try:
        for recipe in recipes:
            texts = recipe.examples
            own = folder / f"server-{recipe.name}"
            found = answers_from(place, rehearsal.settings, own, recipe.name, texts, trusted)
            if found and rto is None:
                rto = time.monotonic() - rehearsal.started
            live = _production(serving, recipe.name, texts, found[0].version if found else None)
            compared += len(live)
            different += sum(ours.label != label for ours, label in zip(found, live, strict=False))
    finally:
        place.close()
    rto = time.monotonic() - rehearsal.started if rto is None else rto
    return {"rto_seconds": round(rto, 3), "compared_predictions": compared, "different_predictions": different}


def _retrain(
    rehearsal: Rehearsal, folder: Path, recipes: Sequence[Recipe], progress: Progress
) -> dict[str, str | int | float]:
    """Return what the first steps of the live models' trainings came to, from what was restored of them."""
    from operators.core.finetuning.rehearse import retrain, why_not
    from operators.core.storage import open_store

    facts: dict[str, str | int | float] = {"retrained_steps": 0}
    with closing(open_store(rehearsal.settings)) as place:
        for name, model in _trainings(place, recipes).items():
            own = folder / f"training-{name}"
            own.mkdir(parents=True)
            if reason := why_not(place.manifest(model), own):
                facts["retraining_skipped"] = f"{name}: {reason}"
                continue
            try:
                done = retrain(place, rehearsal.settings, model, own, progress)
            except NightshiftError as error:
                return {**facts, "retraining_error": f"{name}: {type(error).__name__}: {error}"[:500]}
            difference = max(done.difference, float(facts.get("retraining_difference", 0.0)))
            facts["retrained_steps"] = int(facts["retrained_steps"]) + done.steps
            facts["retraining_difference"] = round(difference, 6)
    return facts


def _trainings(place: Store, recipes: Sequence[Recipe]) -> dict[str, str]:
    """Return, by recipe, the fine-tuned model that what is live was made of."""
    from operators.core.deployment.releases import ReleaseLine
    from operators.core.storage.graph import find_ancestor

    lines = {recipe.name: ReleaseLine(place, recipe.name).live for recipe in recipes}
    models = {name: live.manifest.input("model").manifest for name, live in lines.items() if live}
    found = {name: find_ancestor(place, model, "fine_tune") for name, model in models.items() if model}
    return {name: manifest.digest for name, manifest in found.items() if manifest is not None}


def _production(serving: ServingSettings, recipe: str, texts: Sequence[str], version: str | None) -> list[str]:
    """Return production's labels by the same version, none where no server of it has that one."""
    from operators.core.deployment.client import open_servers

    if version is None:
        return []
    with open_servers(serving, recipe, _PRODUCTION_SECONDS) as servers:
        if version not in servers[0].serving().releases:
            return []
        answers = [servers[0].infer(text, f"drill-{number}", version) for number, text in enumerate(texts)]
    return [answer.label for answer in answers if answer.label is not None]
