"""Where things are when nobody names them: the platform of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operators.cli.answer import WrongUse
from operators.cli.places import landing_settings, pseudonym_key, recipes
from operators.local import airflow, ports
from operators.local.credentials import load_credentials
from operators.local.layout import HOME_VARIABLE, REPOSITORY, Layout

PLACED = ports.wanted_ports({ports.BASE_VARIABLE: "20000"})


@pytest.fixture
def layout(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A configured platform, not started."""
    layout = Layout(home=short_path / "h")
    layout.make()
    airflow.configure(layout, PLACED, load_credentials(layout), REPOSITORY / "dags")
    monkeypatch.setenv(HOME_VARIABLE, str(layout.home))
    return layout


def test_the_platform_says_where_landing_zone_key_and_recipes_are(layout: Layout) -> None:
    """Its landing folder, its secret, and the recipes of the DAGs that it serves."""
    assert landing_settings(None).url == layout.landing.as_uri()
    assert pseudonym_key(None).hex() == load_credentials(layout).pseudonym_key
    assert "mail_triage" in {recipe.name for recipe in recipes(None)}


def test_files_speak_before_the_platform(layout: Layout, tmp_path: Path) -> None:
    """What a person names is what is meant."""
    (tmp_path / "landing.json").write_text(json.dumps({"url": "file:///elsewhere"}))
    (tmp_path / "key.hex").write_text("ab" * 32 + "\n")

    assert landing_settings(str(tmp_path / "landing.json")).url == "file:///elsewhere"
    assert pseudonym_key(str(tmp_path / "key.hex")) == bytes.fromhex("ab" * 32)


@pytest.mark.parametrize("text", ["abcd", "hush" * 16])
def test_what_is_no_key_is_refused_and_not_repeated(layout: Layout, tmp_path: Path, text: str) -> None:
    """Too short, or no hexadecimal digits."""
    (tmp_path / "key.hex").write_text(text)

    with pytest.raises(WrongUse) as caught:
        pseudonym_key(str(tmp_path / "key.hex"))
    assert text not in str(caught.value)


def test_landing_settings_of_unknown_fields_are_refused(layout: Layout, tmp_path: Path) -> None:
    """The message holds none of their values."""
    (tmp_path / "landing.json").write_text(json.dumps({"url": "file:///x", "password": "hush"}))

    with pytest.raises(WrongUse) as caught:
        landing_settings(str(tmp_path / "landing.json"))
    assert "hush" not in str(caught.value)
