"""What a user names wrongly: one line that says which file, what is wrong with it and what should be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.cli import WRONG_USE, main
from operators.local.layout import HOME_VARIABLE

KIT, SETTINGS = "a recovery kit, as `nightshift recovery-key FILE` writes it, is expected there", "settings of a store"
WRONG = {
    "missing.json": "no such file or directory",
    "folder": "is a directory",
    "binary": "holds no text",
    "text": "(JSONDecodeError)",
    "empty": "(JSONDecodeError)",
    "other.json": "(KeyError)",
}


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files that are not what a command asks for, the working directory; no platform is there."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfehush")
    (tmp_path / "text").write_text("hush")
    (tmp_path / "empty").touch()
    (tmp_path / "other.json").write_text('{"hush": 1}')
    (tmp_path / "settings.json").write_text('{"endpoints": [{"name": "a", "url": "file:///a"}], "acknowledge": 1}')
    monkeypatch.setenv(HOME_VARIABLE, "/nowhere/nightshift")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("restore --kit {}", KIT),
        ("drill --storage-file settings.json --kit {}", KIT),
        ("restore 1 --target-file {} --backup-file settings.json", SETTINGS),
        ("restore 1 --target-file settings.json --backup-file {}", SETTINGS),
        ("verify 1 --storage-file {}", SETTINGS),
        ("reveal address_a --reason why --vault-key {} --storage-file settings.json", "key"),
    ],
)
def test_a_file_that_is_another_thing_is_named_with_what_should_be_there(
    wrong: Path, capsys: pytest.CaptureFixture[str], command: str, expected: str, name: str
) -> None:
    """Its own text is never repeated: it may be a secret."""
    status = main(command.format(name).split())
    said = capsys.readouterr().err

    assert status == WRONG_USE
    assert said.count("\n") == 1
    assert expected in said
    assert "hush" not in said and "Errno" not in said and "codec" not in said
    if "reveal" not in command:
        assert said.startswith(f"nightshift: {name}") and WRONG[name] in said


def test_a_home_that_no_socket_fits_in_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a platform cannot be is a line as any other."""
    monkeypatch.setenv(HOME_VARIABLE, f"/{'long' * 20}")

    assert main(["drill"]) == WRONG_USE
    assert "Set NIGHTSHIFT_HOME to a shorter path" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("archive-wal --backup-file settings.json pg_wal/1", "is no data folder of PostgreSQL, for it has no global"),
        ("recovery-key none/kit.json", "no platform in"),
        ("drill", "no platform in"),
        ("restore", "or --kit for the whole platform"),
    ],
)
def test_a_command_in_the_wrong_place_says_what_it_needs(
    wrong: Path, capsys: pytest.CaptureFixture[str], command: str, expected: str
) -> None:
    """And changes nothing."""
    before = sorted(wrong.rglob("*"))

    assert main(command.split()) == WRONG_USE
    assert expected in capsys.readouterr().err
    assert before == sorted(wrong.rglob("*"))
