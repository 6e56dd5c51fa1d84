"""A recipe of the project on files of a day, from landing zone to data set."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

from operators.core.ingestion.ingest import ingest
from operators.core.ingestion.publish import publish_dataset
from operators.core.manifest import Manifest
from operators.core.progress import no_progress
from operators.core.recipe import Recipe
from operators.core.sources.discover import discover
from operators.core.storage import Store
from operators.core.validation.validate import validate
from operators.recipes import load_recipe
from tests.core.mails import KEY, at

REPOSITORY = Path(__file__).resolve().parents[2]
DATASETS = REPOSITORY.parent / "shared" / "datasets"


def recipe_named(name: str) -> Recipe:
    """Return a recipe of the project."""
    return load_recipe(REPOSITORY / "dags" / "recipes" / f"{name}.py")


def land(landing: Path, recipe: Recipe, day: datetime.date, *files: Path) -> None:
    """Have copies of files land on a day, under names that end as the recipe's do."""
    folder = landing / recipe.source.folder / f"dt={day}"
    folder.mkdir(parents=True)
    for path in files:
        shutil.copy(path, folder / f"{path.stem}.{recipe.source.format.value}")


def published(store: Store, landing: Path, recipe: Recipe, day: datetime.date) -> Manifest:
    """Return the data set that a recipe makes of what landed on a day."""
    common = {"landing": at(landing), "progress": no_progress}
    (listing,) = discover(store, spec=recipe.source, first_day=day, last_day=day, groups=1, **common)
    valid = validate(store, listing=listing.digest, source=recipe.source, spec=recipe.validation, **common)
    part = ingest(
        store,
        validation=valid.digest,
        source=recipe.source,
        anonymisation=recipe.anonymisation,
        spec=recipe.ingestion,
        key=KEY,
        **common,
    )
    return publish_dataset(
        store,
        parts=[part.digest],
        recipe=recipe.name,
        day=day,
        spec=recipe.dataset,
        key=KEY,
        progress=no_progress,
        task=recipe.anonymisation.task,
    ).manifest
