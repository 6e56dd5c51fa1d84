"""`nightshift`, as a person or a script calls it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operators.cli import main, make_parser
from operators.cli.commands import TOPICS, WIDEST
from operators.core.manifest import Made, StageCall
from operators.core.recovery.back_up import back_up
from operators.core.recovery.spec import BackUpSpec
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store
from operators.core.storage.graph import closure, objects
from operators.core.storage.listing import manifest_digests
from tests.core.recovery.conftest import make_release

Run = Callable[..., tuple[int, Any]]


def help_of(*command: str) -> str:
    """Return what `--help` says."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit, match="0"):
        make_parser().parse_args([*command, "--help"])
    return said.getvalue()


ALL = [name for names in TOPICS.values() for name in names]
EXAMPLES = [one for name in ALL for one in re.findall(r"^  nightshift (.+)$", help_of(name), re.MULTILINE)]


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
        {"root": release, "manifests": 5, "objects": 4, "bytes": 34, "damaged": [], "forgotten": 0},
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


@pytest.fixture
def backup_file(store: Store, release: str, tmp_path: Path) -> Path:
    """Settings of a backup store that holds a backup of the release, made when another was released after it."""
    make_release(store, "2002-09-27", b"two")
    settings = one_folder(tmp_path / "backup")
    initialise(settings, rounds=0)
    back_up(store, open_store(settings), release=release, spec=BackUpSpec(recipe="mail"))
    path = tmp_path / "backup.json"
    path.write_text(settings.to_json())
    return path


def one_folder(folder: Path) -> StorageSettings:
    """Return the settings of a store of one directory, made empty."""
    folder.mkdir()
    return StorageSettings(endpoints=(EndpointSettings(name=folder.name, url=f"file://{folder}"),), acknowledge=1)


def test_a_backup_is_restored_from_the_command_line(run: Run, release: str, backup_file: Path, tmp_path: Path) -> None:
    """From the backup store into an empty place, by two settings files."""
    target = tmp_path / "target.json"
    target.write_text(one_folder(tmp_path / "target").to_json())
    status, document = run(
        "restore", "latest:backup-mail", "--backup-file", str(backup_file), "--target-file", str(target)
    )

    assert (status, document["release"]) == (0, release)
    assert run("verify", release, "--storage-file", str(target))[0] == 0


def test_a_backup_is_verified_with_all_that_its_inventory_lists(run: Run, store: Store, backup_file: Path) -> None:
    """The other release too: it is in the history, though this backup's release does not lead to it."""
    status, document = run("verify", "latest:backup-mail", "--storage-file", str(backup_file))
    history = [entry.manifest for entry in store.stream("release-mail").entries()]

    assert (status, document["damaged"]) == (0, [])
    assert document["manifests"] == 1 + len(closure(store, history))


def test_a_backup_looked_for_in_the_store_is_not_called_damaged(run: Run, store: Store, backup_file: Path) -> None:
    """The store knows of a backup, but its pieces lie elsewhere: the message says how to look there."""
    digest = next(digest for digest in manifest_digests(store) if store.manifest(digest).stage == "back_up")
    status, document = run("verify", digest)

    assert status == 2
    assert "--backup-store" in document["message"]


def test_a_manifest_without_files_says_what_to_get(run: Run, release: str) -> None:
    """A release has none of its own: it names its model."""
    status, document = run("get", release, "-o", "unused")

    assert status == 2
    assert "model" in document["message"]


def test_a_long_lineage_shows_two_of_many_parts(
    run: Run, store: Store, release: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A data set has a part a source file; `--all` shows them all."""
    parts = [make_release(store, f"2002-08-{day:02}", b"x", recipe="many") for day in range(1, 7)]
    call = StageCall(stage="fold", revision=1, inputs=tuple(store.as_input("part", part) for part in parts), spec={})
    digest = store.once(call, lambda: Made(files=(), facts={})).digest

    assert main(["lineage", digest]) == 0
    short = capsys.readouterr().out
    assert main(["lineage", digest, "--all"]) == 0
    whole = capsys.readouterr().out

    assert (short.count("part: release"), "part: 4 more" in short) == (2, True)
    assert whole.count("part: release") == 6


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


@pytest.mark.parametrize("command", ALL)
def test_every_command_has_help(command: str) -> None:
    """`nightshift COMMAND --help` says what it does and what each argument is, and offers `--json`."""
    told = help_of(command)

    assert told.startswith(f"usage: nightshift {command} ")
    assert "--json" in told
    assert "%%" not in told
    assert max(map(len, told.splitlines())) <= WIDEST
    assert re.findall(r"^  ([\w-]+)$(?!\n {3,})", told, re.MULTILINE) == [], "an argument that is not explained"


def test_the_help_lists_every_command_once_by_topic() -> None:
    """One line each, that fits a screen: none that the parser knows is left out, and none is made up."""
    listed = re.findall(r"^  ([a-z][a-z-]+)  +([A-Z].{10,79})$", help_of(), re.MULTILINE)
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as said:
        make_parser().parse_args(["no-such-command"])
    known = re.findall(r"[a-z-]+", said.getvalue().split("choose from")[1])

    assert [name for name, _ in listed] == ALL
    assert sorted(known) == sorted(ALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_help_is_a_command(example: str) -> None:
    """It parses, to the end."""
    assert callable(make_parser().parse_args(shlex.split(example)).command)


def test_a_table_holds_a_digest_in_one_line(
    store: Store, release: str, storage_settings: StorageSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve digits, which name it to every other command; `--json` has them all."""
    (tmp_path / "store.json").write_text(storage_settings.to_json())
    where = ("--storage-file", str(tmp_path / "store.json"))

    assert main(["ls", "stages", "release", *where]) == 0
    shown = re.findall(r"\b[0-9a-f]{12,}\b", capsys.readouterr().out)
    assert release[:12] in shown
    assert {len(one) for one in shown} == {12}
    assert main(["show", shown[0], *where]) == 0


def test_releases_tell_what_became_of_each_and_why(run: Run, store: Store) -> None:
    """Every step with its reason; status 1 where the newest candidate was withdrawn, 2 where there was none."""
    from operators.core.deployment.releases import DeployLog, Release
    from tests.core.deployment.tiny import GOOD, RECIPE, tiny_model, tiny_release

    candidate = Release.read(store, tiny_release(store, tiny_model(store, GOOD), "2002-09-26"))
    log = DeployLog(store, RECIPE)
    log.note("share", candidate, share=0.1)
    log.note("withdrawn", candidate, reason="it fails on 9 of 300")
    status, steps = run("releases", RECIPE, "--steps", "1")

    assert (status, [step["reason"] for step in steps]) == (1, ["it fails on 9 of 300"])
    assert run("releases", "other")[0] == 2
