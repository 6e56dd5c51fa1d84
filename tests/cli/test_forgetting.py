"""`nightshift forget`, as a person or a script calls it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operators.cli import main
from operators.core.settings import STORAGE_VARIABLE, StorageSettings
from operators.core.storage import open_store
from operators.core.storage.erasures import erasures
from operators.core.storage.holds import Hold, place_hold
from tests.cli.test_cli import one_folder
from tests.core.erasure.nights import ADDRESS, RECIPE, copy_of, night
from tests.core.mails import DAY, KEY, land, mail

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
Run = Callable[..., tuple[int, Any]]
RECIPE_FILE = """
from dataclasses import replace
from operators.recipes import load_recipe
from pathlib import Path
from tests.core.mails import POLICY, SOURCE
RECIPE = replace(load_recipe(Path("{mail_triage}")), name="tiny", source=SOURCE, anonymisation=POLICY)
"""
DONE = ("--yes", "--reason", "request 7")


@pytest.fixture
def storage_settings(tmp_path: Path, first_night: Path) -> StorageSettings:
    """Settings of a copy of a store after its first night."""
    return copy_of(first_night, tmp_path)


@pytest.fixture
def run(
    storage_settings: StorageSettings,
    first_night: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run `forget` with `--json` and without; return its status and document. It never shows the person."""
    monkeypatch.setenv(STORAGE_VARIABLE, storage_settings.to_json())
    backup = one_folder(tmp_path / "backup")
    monkeypatch.setenv("NIGHTSHIFT_HOME", "/nonexistent")
    files = {"backup": backup.to_json(), "landing": json.dumps({"url": (tmp_path / "landing").as_uri()})}
    files["key"] = KEY.hex()
    for name, text in files.items():
        (tmp_path / f"{name}.json").write_text(text)
    shutil.copytree(first_night / "landing", tmp_path / "landing")
    (tmp_path / "recipes").mkdir()
    source = Path(__file__).parents[2] / "dags" / "recipes" / "mail_triage.py"
    (tmp_path / "recipes" / "tiny.py").write_text(RECIPE_FILE.format(mail_triage=source))
    assert main(["init", "--storage-file", str(tmp_path / "backup.json")]) == 0
    where = ("--backup-file", str(tmp_path / "backup.json"), "--landing-file", str(tmp_path / "landing.json"))
    where += ("--pseudonym-key-file", str(tmp_path / "key.json"), "--recipes", str(tmp_path / "recipes"))

    def call(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        status = main(["forget", *arguments, *where, "--json"])
        shown = capsys.readouterr()
        assert ADDRESS not in shown.out + shown.err
        return status, json.loads(shown.out)

    return call


def test_a_request_is_answered_from_report_to_proof(
    run: Run, storage_settings: StorageSettings, tmp_path: Path
) -> None:
    """Report, record, run, forget: each step says what it did, and the second time there is nothing to do."""
    status, report = run(ADDRESS)
    assert (status, report["unrecorded_rows"], report["applied"]) == (0, 1, False)
    assert erasures(open_store(storage_settings)) == {}
    status, report = run(ADDRESS, *DONE)
    assert (status, report["unrecorded_rows"], report["live"]) == (0, 0, {RECIPE: str(DAY)})
    assert (report["forgotten"], run("--pending")[0]) == (0, 1)
    night(open_store(storage_settings), tmp_path / "landing")

    status, report = run("--pending", *DONE)
    assert report["forgotten"] > 0
    assert {holder["state"] for holder in report["holders"]} == {"forgotten"}
    assert run("--pending", *DONE)[1]["forgotten"] == 0


def test_the_text_for_people_says_what_to_do_next(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run to start, by recipe and day, and the landing row to mend; not the person."""
    run(ADDRESS, *DONE)
    arguments = ["forget", ADDRESS, "--backup-file", str(tmp_path / "backup.json")]
    arguments += ["--landing-file", str(tmp_path / "landing.json"), "--recipes", str(tmp_path / "recipes")]
    assert main([*arguments, "--pseudonym-key-file", str(tmp_path / "key.json")]) == 0
    shown = capsys.readouterr().out

    assert f"make run RECIPE={RECIPE} DAY={DAY}" in shown
    assert "mail/dt=2002-09-25/mails.jsonl.zst rows [4]" in shown
    assert ADDRESS not in shown


def test_an_unknown_person_is_wrong_use_and_changes_nothing(run: Run, storage_settings: StorageSettings) -> None:
    """Status 2, also with --yes."""
    status, document = run("nobody@example.org", *DONE)

    assert (status, document["error"]) == (2, "WrongUse")
    assert erasures(open_store(storage_settings)) == {}


def test_nothing_on_record_is_nothing_pending(run: Run) -> None:
    """Status 0: nobody was erased yet."""
    assert run("--pending")[0] == 0


def test_an_id_of_two_days_must_be_told_apart(run: Run, storage_settings: StorageSettings, tmp_path: Path) -> None:
    """Each day may number its rows anew: status 2 until the day is named."""
    land(tmp_path / "landing", DAY, [mail(13, body="somebody else's")], name="again")
    assert run("--row", "ham/00013", *DONE)[0] == 2
    assert erasures(open_store(storage_settings)) == {}

    status, document = run("--row", "ham/00013", "--day", str(DAY), *DONE)
    assert (status, [row["day"] for row in document["rows"]]) == (0, [str(DAY)])


def test_a_person_is_read_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line an identifier: nothing of it stands in the shell's history or the process list."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{ADDRESS}\nother@example.org\n"))

    assert run("-")[1]["unrecorded_rows"] == 1


def test_a_hold_is_told_by_the_status(run: Run, storage_settings: StorageSettings) -> None:
    """Status 1 and the hold's reason, though the rows are left out from now on."""
    store = open_store(storage_settings)
    held = store.stream(f"release-{RECIPE}").head()
    assert held is not None
    place_hold(store.membership, store.record, Hold(manifest=held.manifest, reason="case 12"))
    status, document = run(ADDRESS, *DONE)

    assert (status, document["unrecorded_rows"]) == (1, 0)
    assert "case 12" in {holder["why"] for holder in document["holders"]}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--pending", ADDRESS),
        (ADDRESS, "--yes"),
        (ADDRESS, "--yes", "--reason", f"asked by {ADDRESS}"),
        ("Robert Elz",),
        (),
        (ADDRESS, "--backup-store"),
    ],
)
def test_what_does_not_go_together_is_wrong_use(run: Run, storage_settings: StorageSettings, arguments: Any) -> None:
    """Status 2, and nothing is on record: no reason, a reason that names the person, a name alone."""
    assert run(*arguments)[0] == 2
    assert erasures(open_store(storage_settings)) == {}


def test_a_backup_store_that_is_away_says_try_again(
    run: Run, storage_settings: StorageSettings, tmp_path: Path
) -> None:
    """Status 3, and nothing is on record in the store either."""
    (tmp_path / "backup").rename(tmp_path / "away")

    assert run(ADDRESS, *DONE)[0] == 3
    assert erasures(open_store(storage_settings)) == {}


def test_a_file_that_cannot_be_read_is_told_and_stops_nothing(run: Run, tmp_path: Path) -> None:
    """Status 1: its rows are unknown; those of the other files are on record."""
    (tmp_path / "landing" / "mail" / f"dt={DAY}" / "broken.jsonl").write_text("{")
    status, document = run(ADDRESS, *DONE)

    assert (status, document["unrecorded_rows"], len(document["landing_unread"])) == (1, 0, 1)
