"""What a person asks the platform for, refused before anything starts where it cannot be."""

from __future__ import annotations

import argparse
import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.local.layout import REPOSITORY, PlatformError
from operators.local.rest import AirflowRest
from operators.recipes import load_recipes

RECIPES = REPOSITORY / "dags" / "recipes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is asked for."""

    recipe: str
    conf: dict[str, Any]
    """The trigger form's fields."""

    @property
    def dag_id(self) -> str:
        """Return the DAG of the recipe."""
        return f"retrain_{self.recipe}"


def parse_day(text: str) -> datetime.date:
    """Return the day that was typed, once it is one that may have data."""
    try:
        chosen = datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day: write it like 2002-09-26") from None
    today = datetime.datetime.now(datetime.UTC).date()
    if chosen > today:
        raise argparse.ArgumentTypeError(f"{text} lies in the future: choose {today} or earlier")
    return chosen


def parameter(text: str) -> tuple[str, Any]:
    """Read `NAME=VALUE`: a number where the value is one; the trigger form's schema judges the rest."""
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text}: write NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


PARAM_OPTION: dict[str, Any] = {
    "action": "append",
    "default": [],
    "type": parameter,
    "metavar": "NAME=VALUE",
    "help": "a field of the trigger form",
}


def check_recipe(name: str, folder: Path = RECIPES) -> None:
    """Return if there is a recipe of this name.

    Raises:
        PlatformError: There is none, or a recipe's file is wrong; the message says what there is.
    """
    try:
        known = [recipe.name for recipe in load_recipes(folder)]
    except Exception as error:  # a recipe is a program of the user's: it may fail in any way
        raise PlatformError(f"a recipe in {folder} cannot be read: {type(error).__name__}: {error}") from error
    if name not in known:
        raise PlatformError(
            f"there is no recipe {name!r}: {folder} has {', '.join(known) or 'none'}. "
            "Name one of these, or add a file for it."
        )


def check_fields(rest: AirflowRest, job: Job) -> None:
    """Return if the trigger form has every field that is set: Airflow itself takes others and ignores them.

    Raises:
        PlatformError: It has not; the message lists those that it has.
    """
    fields = rest.fields(job.dag_id)
    unknown = sorted(set(job.conf) - set(fields))
    if unknown:
        raise PlatformError(f"{', '.join(unknown)}: no field of the trigger form, which has {', '.join(fields)}.")
