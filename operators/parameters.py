"""What a person may set when a run is triggered, and the day that a run is for."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk import Param

from operators.core.recipe import LONGEST_WINDOW_DAYS, Recipe


def trigger_form(recipe: Recipe) -> dict[str, Param]:
    """Return the typed fields of the trigger form; an empty one means the recipe's own value."""

    def number(kind: str, section: str | None, description: str, empty: str, low: float, high: float) -> Param:
        words = f"{description}, {low:g} to {high:g}. Empty: {empty}."
        # What has a section is folded away at first; the others are seen at once.
        folded = {"section": section} if section else {}
        return Param(None, words, type=["null", kind], minimum=low, maximum=high, **folded)

    training = recipe.training
    search = {}
    if recipe.search is not None:
        search["search_trials"] = number(
            "integer", "Training", "Trials that search for better hyper-parameters", f"{recipe.search.trials}", 0, 1000
        )
    return {
        "day": Param(
            None,
            "Last day of data, e.g. 2002-09-26. Empty: the day of the data interval, or yesterday for a manual run.",
            type=["null", "string"],
            format="date",
        ),
        "window_days": number(
            "integer", None, "Days of data, ending with that day", f"{recipe.window_days}", 1, LONGEST_WINDOW_DAYS
        ),
        "accept_drift": Param(
            False,
            "Go on also when the new data is not like that of the live release; the report is made all the same.",
            type="boolean",
            section="Data",
        ),
        "epochs": number("integer", "Training", "Passes over the data", f"{training.epochs}", 1, 100),
        "learning_rate": number(
            "number", "Training", "Highest learning rate of the encoder", f"{training.encoder_rate:g}", 1e-7, 1e-2
        ),
        "max_length": number("integer", "Training", "Tokens read of each text", f"{training.max_length}", 8, 512),
        "ranks": number("integer", "Training", "Training processes", "one per GPU, or two on a CPU", 1, 1024),
        **search,
        **_release(recipe, number),
    }


def _release(recipe: Recipe, number: Callable[..., Param]) -> dict[str, Param]:
    """Return the fields about going live, none where a recipe's model does not."""
    if recipe.gate is None:
        return {}
    return {
        "quality_floor": number(
            "number", "Release", "Score below which nothing is released", f"{recipe.gate.min_score:g}", 0, 1
        ),
        "release_anyway": Param(
            False,
            "Release it also when a later day is live, or when a person rolled it back. The gate still holds.",
            type="boolean",
            section="Release",
        ),
    }


def day_of(context: Mapping[str, Any]) -> datetime.date:
    """Return the last day of data that a run is for.

    The parameter `day` when it is set; else the start of the data interval; else, for a manual run, the last complete
    day in UTC (Airflow gives a manual run the interval before its logical date, which no person expects).

    Raises:
        ValueError: `day` is no date, or lies in the future.
    """
    run = context["dag_run"]
    today = run.run_after.astimezone(datetime.UTC).date()
    chosen = context["params"].get("day")
    if chosen is None:
        interval = getattr(run, "data_interval_start", None)
        scheduled = str(getattr(run.run_type, "value", run.run_type)) != "manual"
        return interval.date() if scheduled and interval is not None else today - datetime.timedelta(days=1)
    day = datetime.date.fromisoformat(chosen)
    if day > today:
        raise ValueError(f"day {chosen} lies in the future: choose {today} or earlier")
    return day
