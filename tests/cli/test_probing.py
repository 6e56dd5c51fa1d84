"""`nightshift probe`: what it prints, and its exit status."""

from __future__ import annotations

import json

import pytest

from operators.cli import main
from operators.core.settings import StorageSettings
from operators.core.storage import Store
from tests.core.storage.test_members import folder_of


def probe(settings: StorageSettings, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command on a store; return its status."""
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", settings.to_json())
    return main(["probe", "--rounds", "1", *arguments])


def test_a_sound_store_is_fit(
    store: Store, storage_settings: StorageSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All may be primary, the first one is; the document says the same as the table."""
    assert probe(storage_settings, monkeypatch) == 0
    assert "primary (is primary)" in capsys.readouterr().out.replace("\n", " ")
    assert probe(storage_settings, monkeypatch, "--json") == 0
    document = json.loads(capsys.readouterr().out)

    assert (document["primary"], document["refused"]) == ("site_a", [])
    assert [report["endpoint"] for report in document["endpoints"]] == ["site_a", "site_b", "site_c"]


def test_an_endpoint_that_is_away_is_named(
    store: Store, storage_settings: StorageSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1, and a line that says which and why; asked for the others only, all is well."""
    folder_of(storage_settings, "site_c").rename(folder_of(storage_settings, "site_c").with_name("gone"))

    assert probe(storage_settings, monkeypatch) == 1
    assert "site_c may be no member" in capsys.readouterr().out
    assert probe(storage_settings, monkeypatch, "site_a", "site_b") == 0


def test_unknown_endpoints_and_no_rounds_are_wrong_use(
    storage_settings: StorageSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, with what there is."""
    assert probe(storage_settings, monkeypatch, "site_x") == 2
    assert "it has site_a, site_b, site_c" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        probe(storage_settings, monkeypatch, "--rounds", "0")
