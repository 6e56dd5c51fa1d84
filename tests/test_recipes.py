"""Recipes: a file each, checked when made, overridden by a run's parameters."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operators.core.evaluation.spec import EvaluationSpec
from operators.core.finetuning.language_spec import CausalTrainingSpec, PretrainingSpec
from operators.core.models.known import SMOLLM2_135M
from operators.core.recipe import Recipe
from operators.recipes import load_recipe, load_recipes, readable_recipes

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "dags" / "recipes"


def test_every_recipe_of_the_project_loads() -> None:
    """Each file in dags/recipes has one valid recipe, named like its file."""
    assert [recipe.name for recipe in load_recipes(FOLDER)] == sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))


def test_the_readme_s_own_recipe_loads(tmp_path: Path) -> None:
    """The ten lines of the README are a recipe."""
    (tmp_path / "mail_triage.py").write_text((FOLDER / "mail_triage.py").read_text())
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"```python\n(# dags/recipes/ticket_routing.py.*?)```", readme, re.DOTALL)
    assert block is not None
    (tmp_path / "ticket_routing.py").write_text(block[1])

    assert [recipe.name for recipe in load_recipes(tmp_path)] == ["mail_triage", "ticket_routing"]


def test_two_recipes_of_one_name_are_refused(tmp_path: Path) -> None:
    """Two files must not make one DAG."""
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text((FOLDER / "mail_triage.py").read_text())

    with pytest.raises(ValueError, match="stands in another file"):
        load_recipes(tmp_path)


def test_a_file_without_a_recipe_is_refused(tmp_path: Path) -> None:
    """A file that assigns no RECIPE is named in the error."""
    (tmp_path / "empty.py").write_text("")

    with pytest.raises(ValueError, match=r"empty\.py has no RECIPE"):
        load_recipes(tmp_path)


def test_a_file_that_cannot_be_read_keeps_nobody_from_the_others(tmp_path: Path) -> None:
    """Backups, drills and rollbacks go on with the recipes that can be read; retraining says what is wrong."""
    (tmp_path / "mail_triage.py").write_text((FOLDER / "mail_triage.py").read_text())
    (tmp_path / "broken.py").write_text("RECIPE = nonsense(")
    (tmp_path / "empty.py").write_text("")

    assert [recipe.name for recipe in readable_recipes(tmp_path)] == ["mail_triage"]
    with pytest.raises(SyntaxError):
        load_recipes(tmp_path)


def test_parameters_take_the_place_of_the_recipe_s_values() -> None:
    """What a person sets in the form reaches the specs; what is left empty stays."""
    recipe = load_recipe(FOLDER / "mail_triage.py")

    changed = recipe.with_params(
        {"epochs": 3, "learning_rate": 1e-5, "window_days": 7, "quality_floor": 0.5, "ranks": None}
    )

    assert (changed.training.epochs, changed.training.encoder_rate) == (3, 1e-5)
    assert (changed.window_days, changed.gate.min_score) == (7, 0.5)
    assert changed.training.ranks == recipe.training.ranks
    assert changed == replace(changed, name=recipe.name)


@pytest.mark.parametrize(
    "params", [{"epochs": 0}, {"learning_rate": 1.0}, {"max_length": 4}, {"window_days": 0}, {"quality_floor": 1.5}]
)
def test_a_parameter_out_of_range_is_refused(params: dict[str, float]) -> None:
    """A wrong value is an error that names it, also where no form checked it."""
    with pytest.raises(ValueError, match="="):
        load_recipe(FOLDER / "mail_triage.py").with_params(params)


def test_the_data_page_s_own_recipe_loads(tmp_path: Path) -> None:
    """The recipe of docs/data.md is one, and reads CSV."""
    (tmp_path / "mail_triage.py").write_text((FOLDER / "mail_triage.py").read_text())
    block = re.search(
        r"```python\n(# dags/recipes/ticket_routing.py.*?)```", (ROOT / "docs/data.md").read_text(), re.DOTALL
    )
    assert block is not None
    (tmp_path / "ticket_routing.py").write_text(block[1])

    assert load_recipe(tmp_path / "ticket_routing.py").source.compression_of("export.csv.gz") == ".gz"


@pytest.mark.parametrize("column", ["nobody's", "text", "label", "Tweet Text"])
def test_rows_are_parted_only_by_what_the_policy_keeps_of_them(column: str) -> None:
    """A column that is dropped, unknown or free text is refused when the recipe is made, and what would do is told."""
    recipe = load_recipe(FOLDER / "stock_sentiment.py")
    assert recipe.evaluation.slices == ("Stock Ticker",)

    with pytest.raises(ValueError, match=r"evaluation\.slices: .*Stock Ticker"):
        replace(recipe, evaluation=EvaluationSpec(slices=(column,)))


def _causal(**changes: Any) -> Recipe:
    """Return a recipe that trains a causal language model, changed."""
    language: dict[str, Any] = {
        "base_model": SMOLLM2_135M,
        "training": CausalTrainingSpec(),
        "search": None,
        **dict.fromkeys(("compression", "gate", "deployment")),
    }
    return replace(load_recipe(FOLDER / "mail_triage.py"), **language | changes)


@pytest.mark.parametrize("stage", ["compression", "gate", "deployment", "pretraining"])
def test_a_stage_that_a_causal_language_model_cannot_take_is_refused_at_parse(stage: str) -> None:
    """By name; and one that any other model needs may not be left out."""
    recipe = load_recipe(FOLDER / "mail_triage.py")
    given = PretrainingSpec() if stage == "pretraining" else getattr(recipe, stage)

    with pytest.raises(ValueError, match=f"{stage} of a recipe that trains 'causal_language_model'"):
        _causal(**{stage: given})
    if stage != "pretraining":
        with pytest.raises(ValueError, match=f"{stage} of a recipe .* may not be None"):
            replace(recipe, **{stage: None})


def test_a_training_and_a_base_model_that_do_not_fit_are_refused() -> None:
    """An encoder cannot go on with a text, and a decoder classifies none."""
    recipe = load_recipe(FOLDER / "mail_triage.py")

    with pytest.raises(ValueError, match=r"needs one of.*LlamaForCausalLM"):
        _causal(base_model=recipe.base_model)
    with pytest.raises(ValueError, match=r"needs one of.*BertModel"):
        replace(recipe, base_model=SMOLLM2_135M)


def test_a_run_s_parameters_reach_a_recipe_that_does_not_go_live() -> None:
    """Those that are left; it has no floor that could be set."""
    changed = _causal().with_params({"epochs": 3, "max_length": 99, "quality_floor": 0.5})

    assert (changed.training.epochs, changed.training.max_length, changed.gate) == (3, 99, None)


def test_the_training_page_s_own_recipe_loads(tmp_path: Path) -> None:
    """The recipe of docs/training.md is one of a causal language model, of what another recipe reads."""
    (tmp_path / "banking_intents.py").write_text((FOLDER / "banking_intents.py").read_text())
    page = (ROOT / "docs/training.md").read_text()
    block = re.search(r"```python\n(# dags/recipes/bank_questions.py.*?)```", page, re.DOTALL)
    assert block is not None
    (tmp_path / "bank_questions.py").write_text(block[1])

    assert [recipe.name for recipe in load_recipes(tmp_path)] == ["bank_questions", "banking_intents"]
