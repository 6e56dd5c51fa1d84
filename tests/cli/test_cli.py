"""`nightshift`, as a person or a script calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operators.cli import main, make_parser
from operators.core.recovery.back_up import back_up
from operators.core.recovery.spec import BackUpSpec
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store
from operators.core.storage.graph import closure, objects
from tests.core.recovery.conftest import make_release

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def release(store: Store) -> str:
    """Digest of a release in the store."""
    return make_release(store, "2002-09-26", b"one")


@pytest.fixture
def run(storage_settings: StorageSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with `--json` on the store in the environment; return its status and document."""
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", storage_settings.to_json())

    def call(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        status = main([*arguments, "--json"])
        return status, json.loads(capsys.readouterr().out)

    return call


def test_init_makes_a_store_once(run: Run) -> None:
    """The first call makes it, the second finds the same."""
    status, made = run("init")

    assert (status, made["members"]) == (0, ["site_a", "site_b", "site_c"])
    assert (0, made) == run("init")


def test_streams_and_stages_are_listed(run: Run, release: str) -> None:
    """Every stream with its newest manifest, every stage with its count, one stream with its entries."""
    assert run("ls", "streams")[1][1] == {"stream": "release-mail", "entries": 1, "newest": release}
    assert {"stage": "release", "manifests": 1} in run("ls", "stages")[1]
    assert run("ls", "stream", "release-mail") == (0, [{"generation": 0, "manifest": release}])


@pytest.mark.parametrize("form", ["digest", "short", "run key", "latest"])
def test_a_manifest_is_shown_by_any_of_its_names(run: Run, store: Store, release: str, form: str) -> None:
    """Whole or short digest, run key, or the newest of a stream."""
    run_key = store.manifest(release).run_key
    name = {"digest": release, "short": release[:8], "run key": run_key, "latest": "latest:release-mail"}[form]
    status, document = run("show", name)

    assert (status, document["digest"], document["stage"]) == (0, release, "release")


@pytest.mark.parametrize("name", ["0" * 64, "abc", "../../identity", "latest:release-none", "latest:A/B"])
def test_a_name_that_means_nothing_is_wrong_use(run: Run, release: str, name: str) -> None:
    """Status 2 and a message, never a trace."""
    status, document = run("show", name)

    assert status == 2
    assert document["message"]


def test_files_are_fetched_into_a_folder(run: Run, release: str, tmp_path: Path) -> None:
    """One file, or all of them."""
    status, _ = run("get", "latest:dataset-mail", "train/0.parquet", "-o", str(tmp_path / "one"))
    run("get", "latest:dataset-mail", "-o", str(tmp_path / "all"))

    assert status == 0
    assert (tmp_path / "one" / "train" / "0.parquet").read_bytes() == b"one"
    assert not (tmp_path / "one" / "test").exists()
    assert (tmp_path / "all" / "test" / "0.parquet").read_bytes() == b"same test"


def test_verify_reads_everything_that_is_reached(run: Run, release: str) -> None:
    """All is well: status 0, and the figures say how much was read."""
    assert run("verify", release) == (
        0,
        {"root": release, "manifests": 5, "objects": 4, "bytes": 34, "damaged": []},
    )


def test_verify_fails_on_a_lost_object(run: Run, store: Store, release: str, tmp_path: Path) -> None:
    """An object that no endpoint holds: status 1, and it is named."""
    lost = next(iter(objects(closure(store, [release]))))
    for path in tmp_path.rglob(lost):
        path.unlink()
    status, document = run("verify", release)

    assert (status, document["damaged"]) == (1, [f"obj/{lost}"])


def test_lineage_leads_to_every_input(run: Run, store: Store, release: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The document has every manifest that was reached; the text is a tree from the release down to the part."""
    _, document = run("lineage", release)
    main(["lineage", release])

    assert set(document["manifests"]) == set(closure(store, [release]))
    assert "part: ingest_file" in capsys.readouterr().out


def test_a_store_that_is_away_says_try_again(run: Run, release: str, tmp_path: Path) -> None:
    """Two endpoints gone: status 3."""
    for name in ("site_a", "site_b"):
        (tmp_path / name).rename(tmp_path / f"{name}-away")

    assert run("show", release)[0] == 3


def test_a_backup_is_restored_from_the_command_line(run: Run, store: Store, release: str, tmp_path: Path) -> None:
    """From the backup store into an empty place, by two settings files."""
    files = {}
    for name in ("backup", "target"):
        (tmp_path / name).mkdir()
        endpoint = EndpointSettings(name=name, url=f"file://{tmp_path / name}")
        settings = StorageSettings(endpoints=(endpoint,), acknowledge=1)
        files[name] = tmp_path / f"{name}.json"
        files[name].write_text(settings.to_json())
        if name == "backup":
            initialise(settings)
            back_up(store, open_store(settings), release=release, spec=BackUpSpec(recipe="mail"))
    status, document = run(
        "restore", "latest:backup-mail", "--backup-file", str(files["backup"]), "--target-file", str(files["target"])
    )

    assert (status, document["release"]) == (0, release)
    assert run("verify", "latest:release-mail", "--storage-file", str(files["target"]))[0] == 0


def test_without_a_platform_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No settings anywhere: status 2, and no folder is made."""
    monkeypatch.delenv("NIGHTSHIFT_STORAGE", raising=False)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(short_path / "none"))

    assert main(["ls", "streams"]) == 2
    assert "make run" in capsys.readouterr().err
    assert not (short_path / "none").exists()


def test_secrets_are_not_repeated_by_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A settings file that cannot be read does not appear in the message."""
    (tmp_path / "storage.json").write_text('{"endpoints": [{"secret_key": "hush"')

    assert main(["ls", "streams", "--storage-file", str(tmp_path / "storage.json")]) == 2
    assert "hush" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["init", "status", "ls", "show", "get", "verify", "lineage", "restore", "rollback", "rotate-master-key"]
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`nightshift COMMAND --help` explains it and offers `--json`."""
    with pytest.raises(SystemExit) as left:
        make_parser().parse_args([command, "--help"])

    assert left.value.code == 0
    assert "--json" in capsys.readouterr().out
