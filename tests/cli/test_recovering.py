"""`nightshift recovery-key`: its private half leaves the platform at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operators.cli import main
from operators.core.recovery.kit import RecoveryKit
from operators.local import airflow, ports, recovery, seaweedfs
from operators.local.credentials import load_credentials
from operators.local.layout import HOME_VARIABLE, REPOSITORY, Layout

PLACED = ports.wanted_ports({ports.BASE_VARIABLE: "20000"})


@pytest.fixture
def layout(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A platform with its drill's key, not started."""
    layout = Layout(home=short_path / "h")
    layout.make()
    credentials = load_credentials(layout)
    recovery.configure(layout, seaweedfs.backup_settings(PLACED, credentials), credentials)
    monkeypatch.setenv(HOME_VARIABLE, str(layout.home))
    return layout


def test_a_new_key_leaves_only_its_public_half(layout: Layout, tmp_path: Path) -> None:
    """The kit is its keeper's alone; nothing below the platform's folder holds the private key."""
    kit_file = tmp_path / "kit.json"

    assert main(["recovery-key", str(kit_file)]) == 0
    kit = RecoveryKit.from_json(kit_file.read_text())
    held = [path.read_text() for path in layout.home.rglob("*") if path.is_file()]
    assert kit_file.stat().st_mode & 0o777 == 0o600
    assert any(kit.public_key in text for text in held)
    assert not any(kit.private_key in text for text in held)
    assert kit.backup.encryption is None and len(kit.trusted) == 1


def test_a_kit_is_not_written_over_nor_into_the_platform(layout: Layout, tmp_path: Path) -> None:
    """Wrong use, and no key is made that nobody holds."""
    (tmp_path / "kit.json").write_text("another")

    for path in (tmp_path / "kit.json", layout.home / "kit.json"):
        assert main(["recovery-key", str(path)]) == 2
    assert (tmp_path / "kit.json").read_text() == "another"
    assert [path.stem for path in layout.recovery_keys.iterdir()] == ["drill"]


def test_a_kit_needs_a_folder_that_is_there(layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The name that was typed is told, and no key is made that nobody holds."""
    assert main(["recovery-key", str(tmp_path / "none" / "kit.json")]) == 2
    assert f"{tmp_path}/none/kit.json: no such file or directory" in capsys.readouterr().err
    assert [path.stem for path in layout.recovery_keys.iterdir()] == ["drill"]


def test_an_unknown_recipe_is_not_waited_for(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """A rollback of a name that the platform has not says so at once, with those that it has; servers may be down."""
    airflow.configure(layout, PLACED, load_credentials(layout), REPOSITORY / "dags")
    ports.save(layout, PLACED)

    assert main(["rollback", "mail_traige"]) == 2
    assert "no recipe 'mail_traige': there are " in (said := capsys.readouterr().err) and "mail_triage" in said


def test_keys_are_listed_and_the_drill_s_alone_is_not_enough(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1 until somebody outside the platform has a key."""
    assert main(["recovery-key"]) == 1
    main(["recovery-key", str(tmp_path / "kit.json")])
    capsys.readouterr()

    assert main(["recovery-key", "--json"]) == 0
    assert sorted(name.split("-")[0] for name in json.loads(capsys.readouterr().out)) == ["drill", "keeper"]


def test_the_drill_keeps_its_key_when_the_platform_is_configured_again(layout: Layout) -> None:
    """Else no backup of before could be drilled."""
    before = RecoveryKit.from_json(layout.drill_kit.read_text())
    credentials = load_credentials(layout)
    recovery.configure(layout, seaweedfs.backup_settings(PLACED, credentials), credentials)

    assert RecoveryKit.from_json(layout.drill_kit.read_text()) == before
