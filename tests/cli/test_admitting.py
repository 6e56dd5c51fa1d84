"""`nightshift login`: people and machines come and go, and Airflow's files say what they may."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operators.cli import main
from operators.local import airflow, containers, ports, services
from operators.local.credentials import load_credentials
from operators.local.layout import HOME_VARIABLE, Layout

PLACED = ports.wanted_ports({ports.BASE_VARIABLE: "20000"})


@pytest.fixture
def layout(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A platform that is set up and down."""
    layout = Layout(home=short_path / "h")
    layout.make()
    services.configure(layout, PLACED, load_credentials(layout), Path("/dags"))
    ports.save(layout, PLACED)
    monkeypatch.setenv(HOME_VARIABLE, str(layout.home))
    return layout


def users(layout: Layout) -> str:
    """Return whom Airflow lets in, with which of its roles."""
    return airflow.read_environment(layout.airflow_environment)["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"]


def test_a_login_comes_with_a_password_and_its_role(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Airflow's files have it, nobody else may read them, and everything else in them stays."""
    before = airflow.read_environment(layout.airflow_environment)
    assert main(["login", "ada", "--role", "operator", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    after = airflow.read_environment(layout.airflow_environment)

    assert users(layout) == "admin:admin,ada:user"
    assert json.loads(layout.passwords.read_text())["ada"] == told["password"]
    assert {name for name in after if after[name] != before[name]} == {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"}
    assert layout.logins.stat().st_mode & 0o777 == 0o600


def test_another_role_leaves_the_password(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """And a login that is removed is nowhere."""
    main(["login", "ada"])
    before = json.loads(layout.passwords.read_text())["ada"]
    main(["login", "ada", "--role", "admin"])

    assert json.loads(layout.passwords.read_text())["ada"] == before
    assert users(layout) == "admin:admin,ada:admin"
    capsys.readouterr()
    assert main(["logins", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"admin": "admin", "ada": "admin"}
    assert main(["login", "ada", "--remove"]) == 0
    assert users(layout) == "admin:admin"
    assert "ada" not in layout.passwords.read_text()


@pytest.mark.parametrize("name", ["admin", "Ada", "ada:admin", "ada,eve", "", "a" * 65, "ada\n"])
def test_a_name_that_airflow_would_read_otherwise_is_refused(layout: Layout, name: str) -> None:
    """A colon or a comma would be another login with another role; the platform's own keeps its."""
    assert main(["login", name]) == 2
    assert users(layout) == "admin:admin"


@pytest.mark.parametrize("arguments", [["login", "eve", "--remove"], ["login", "admin", "--remove"], ["token", "eve"]])
def test_nobody_cannot_be_removed_nor_have_a_token(layout: Layout, arguments: list[str]) -> None:
    """Wrong use, in words."""
    assert main(arguments) == 2


def test_a_damaged_file_of_logins_is_never_replaced(layout: Layout) -> None:
    """It holds passwords that people know."""
    layout.logins.write_text("{}{")

    assert main(["login", "ada"]) == 2
    assert layout.logins.read_text() == "{}{"


def test_containers_are_given_the_same(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """`make containers` puts names and roles where the API server alone reads them."""
    layout.airflow_environment.unlink()
    main(["login", "ada", "--role", "operator"])
    told, made = capsys.readouterr().out, containers.files(layout)

    assert "make containers" in told
    assert "admin:admin,ada:user" in made["api.env"]
    assert set(json.loads(made["airflow_users.json"])) == {"admin", "ada"}
    assert "ada" not in made["airflow.env"]
