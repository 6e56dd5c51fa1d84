"""Finds the recipes: a file each, so that adding a file adds a DAG."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from operators.core.recipe import Recipe


def load_recipe(path: Path) -> Recipe:
    """Return the `RECIPE` that a Python file assigns.

    Raises:
        ValueError: It assigns none.
    """
    spec = importlib.util.spec_from_file_location(f"nightshift_recipe_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path} has no RECIPE: it must assign a Recipe to that name")
    return recipe


def load_recipes(folder: Path) -> list[Recipe]:
    """Return the recipe of every Python file in a folder, in order of the files' names.

    Raises:
        ValueError: A file has none, or two have one name.
    """
    recipes: dict[str, Recipe] = {}
    for path in sorted(folder.glob("[a-z]*.py")):
        recipe = load_recipe(path)
        if recipe.name in recipes:
            raise ValueError(f"{path}: a recipe named {recipe.name!r} stands in another file already")
        recipes[recipe.name] = recipe
    return list(recipes.values())


def readable_recipes(folder: Path) -> list[Recipe]:
    """Return the recipes of a folder without those that cannot be read.

    For what must go on whatever stands in one file: backups, drills and rollbacks of the others. Retraining reads all
    of them, so that Airflow and the page of the morning show the error.
    """
    recipes: dict[str, Recipe] = {}
    for path in sorted(folder.glob("[a-z]*.py")):
        try:
            recipe = load_recipe(path)
        except Exception as error:  # whatever a file does when it is read
            logging.getLogger(__name__).warning("left out, it cannot be read: %s: %s", path, error)
            continue
        recipes.setdefault(recipe.name, recipe)
    return list(recipes.values())
