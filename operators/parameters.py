"""What a person may set when a run is triggered, and the day that a run is for."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from operators.core.recipe import LONGEST_WINDOW_DAYS, Recipe


def trigger_form(recipe: Recipe) -> dict[str, Param]:
    """Return the typed fields of the trigger form; an empty one means the recipe's own value."""

    def optional(kind: str, description: str, **schema: Any) -> Param:
        return Param(None, description, type=["null", kind], **schema)

    return {
        "day": optional(
            "string",
            "Last day of data, e.g. 2002-09-26. Empty: the day of the data interval, or yesterday for a manual run.",
            format="date",
        ),
        "window_days": optional(
            "integer",
            f"Days of data, ending with that day. Empty: {recipe.window_days}.",
            minimum=1,
            maximum=LONGEST_WINDOW_DAYS,
        ),
        "epochs": optional(
            "integer", f"Passes over the data. Empty: {recipe.training.epochs}.", minimum=1, maximum=100
        ),
        "learning_rate": optional(
            "number",
            f"Highest learning rate of the encoder. Empty: {recipe.training.encoder_rate:g}.",
            minimum=1e-7,
            maximum=1e-2,
        ),
        "max_length": optional(
            "integer",
            f"Tokens of each text that are read. Empty: {recipe.training.max_length}.",
            minimum=8,
            maximum=512,
        ),
        "quality_floor": optional(
            "number",
            f"Accuracy below which nothing is released. Empty: {recipe.gate.min_accuracy}.",
            minimum=0,
            maximum=1,
        ),
        "ranks": optional(
            "integer", "Training processes. Empty: one per GPU, or two on a CPU.", minimum=1, maximum=1024
        ),
        "release_anyway": Param(
            False,
            "Release it also when a later day is live, or when a person rolled it back. The gate still holds.",
            type="boolean",
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
