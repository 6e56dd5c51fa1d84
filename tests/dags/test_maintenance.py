"""The maintenance DAGs, as the trigger form shows them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[2] / "dags" / "maintenance.py"


@pytest.fixture(scope="module")
def forms() -> dict[str, Any]:
    """The typed fields of each form: what `params` of the DAG file's calls hold."""
    pytest.importorskip("airflow")
    from operators.restore_form import restore_form
    from operators.roll_back import roll_back_form

    names = runpy.run_path(str(FILE))["recipes"]
    return {"recipes": list(names), "restore": restore_form(list(names)), "roll_back": roll_back_form(list(names))}


def test_a_restore_starts_from_values_that_are_right(forms: dict[str, Any]) -> None:
    """Triggered with an untouched form, a restore takes the newest backup of the whole platform."""
    values = {name: param.resolve() for name, param in forms["restore"].items()}

    assert values["recipe"] == "(the platform)"
    assert (values["backup"], values["target"]) == ("latest", "nightshift_restore_target")
    assert (values["airflow_database"], values["at"], values["only"]) == (None, None, None)


def test_whose_release_goes_back_must_be_said(forms: dict[str, Any]) -> None:
    """An untouched form rolls nothing back: no recipe is so likely that a hasty click may mean it."""
    from airflow.sdk.exceptions import AirflowException

    recipe = forms["roll_back"]["recipe"]

    with pytest.raises((ValueError, AirflowException)):
        recipe.resolve()
    assert recipe.resolve(value=forms["recipes"][0]) == forms["recipes"][0]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("recipe", "another"),
        ("backup", "newest"),
        ("backup", "../x"),
        ("target", "a b"),
        ("target", "$(id)"),
        ("airflow_database", "relative.db"),
        ("at", "yesterday"),
        ("only", "../x"),
    ],
)
def test_a_wrong_value_is_refused(forms: dict[str, Any], field: str, wrong: str) -> None:
    """A value outside its type or pattern never reaches the task."""
    from airflow.sdk import Param
    from airflow.sdk.exceptions import AirflowException

    param: Param = forms["restore"][field]
    with pytest.raises((ValueError, AirflowException)):
        param.resolve(value=wrong)


def test_the_whole_platform_can_be_chosen(forms: dict[str, Any]) -> None:
    """In the field that names a recipe otherwise, with a moment and one name of it."""
    for field, value in {"recipe": "(the platform)", "at": "2026-11-22T18:00:00Z", "only": "dataset-mail"}.items():
        assert forms["restore"][field].resolve(value=value) == value


def test_the_file_is_wiring_only() -> None:
    """At most 60 lines, with triage notes."""
    text = FILE.read_text()

    assert len(text.splitlines()) <= 60
    assert "### Triage" in text
