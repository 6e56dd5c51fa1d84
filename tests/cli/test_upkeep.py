"""Commands that keep the store sound, as a person runs them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operators.cli import main, upkeep
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.settings import STORAGE_VARIABLE, StorageSettings
from operators.core.storage import initialise, open_store
from operators.core.storage.checks import Finding, Weight
from operators.core.storage.probe import PROBE_KEY, ProbeReport

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def run(storage_settings: StorageSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with `--json` against a store with one result; return exit status and document."""
    monkeypatch.setenv(STORAGE_VARIABLE, storage_settings.to_json())
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    entry = store.put_bytes("a.bin", b"content" * 100)
    store.commit(Manifest.of(StageCall(stage="test", revision=1), Made(files=(entry,))))
    store.put_bytes("orphan.bin", b"nobody needs this")
    store.close()

    def call(*arguments: str) -> tuple[int, Any]:
        status = main([*arguments, "--json"])
        return status, json.loads(capsys.readouterr().out)

    return call


def folder_of(settings: StorageSettings, name: str) -> Path:
    """Return where an endpoint lies."""
    return Path(next(item.url for item in settings.endpoints if item.name == name).removeprefix("file://"))


def test_scrub_mends_and_then_finds_nothing(run: Run, storage_settings: StorageSettings) -> None:
    """A deleted copy is back after one scrub; the exit status says that all is well."""
    victim = next(path for path in folder_of(storage_settings, "site_b").rglob("obj/*/*"))
    victim.unlink()

    status, document = run("scrub", "--all")
    assert (status, document["missing"], document["repaired"]) == (0, 1, 1)
    status, document = run("scrub", "--light")
    assert (status, document["missing"], document["read_copies"]) == (0, 0, 0)
    assert victim.exists()


def test_scrub_without_repair_fails_when_something_is_wrong(run: Run, storage_settings: StorageSettings) -> None:
    """Exit status 1, and the flaw stands."""
    next(path for path in folder_of(storage_settings, "site_b").rglob("obj/*/*")).unlink()

    assert run("scrub", "--no-repair")[0] == 1


def test_gc_is_a_dry_run_unless_told(run: Run) -> None:
    """It names the orphan and leaves it; with `--apply` the list is written, and waits for the grace."""
    dry = ("gc", "--grace-days", "0.0000001", "--max-share", "1")
    status, document = run(*dry)
    assert (status, document["applied"]) == (0, False)

    assert run("gc", "--max-share", "1")[1]["keys"] == []


def test_a_wiped_endpoint_is_resynced(run: Run, storage_settings: StorageSettings) -> None:
    """The way back after a disk was swapped: scrub names it, resync refills it, scrub is clean."""
    shutil.rmtree(folder_of(storage_settings, "site_c"))
    folder_of(storage_settings, "site_c").mkdir()
    assert run("scrub")[1]["strangers"] == ["site_c"]

    status, document = run("resync", "site_c")

    assert (status, document["lost"], document["term"]) == (0, [], 2)
    assert (folder_of(storage_settings, "site_c") / "probe.json").is_file()
    assert run("scrub", "--all")[0] == 0


def test_a_server_that_forgets_takes_no_endpoints_place(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is probed before anything is copied there."""
    forgets = Finding(check="read after write", weight=Weight.NO_MEMBER, words="a key was gone")
    report = ProbeReport(endpoint="site_c", at=0.0, findings=(forgets,), figures={}, traits={})
    monkeypatch.setattr(upkeep, "probe", lambda endpoint, rounds: report)

    assert run("resync", "site_c", "--anew")[0] != 0
    assert run("primary")[1]["term"] == 1


def test_the_primary_is_shown_and_moved(run: Run) -> None:
    """Before, after, and a name that is not there."""
    assert run("primary")[1]["primary"] == "site_a"
    status, document = run("primary", "move", "site_b")
    assert (status, document["primary"], document["unread"]) == (0, "site_b", [])
    assert run("primary")[1]["term"] == 2
    assert run("primary", "move", "site_x")[0] == 2


def test_every_change_is_on_the_trail(run: Run, storage_settings: StorageSettings) -> None:
    """Who, what, when, in order; and the chain is checked."""
    digest = next(path.name for path in folder_of(storage_settings, "site_a").rglob("man/*/*"))
    run("primary", "move", "site_b")
    run("hold", digest, "--reason", "audit 7")
    run("hold", digest, "--lift")

    entries = run("audit")[1]

    assert [entry["change"]["action"] for entry in entries] == ["move primary", "place hold", "lift hold"]
    assert entries[1]["change"]["detail"] == "audit 7"
    assert run("audit", "verify") == (0, {"entries": 3, "broken": None, "why": ""})


def test_what_the_probe_refuses_does_not_become_primary(run: Run, storage_settings: StorageSettings) -> None:
    """The message says why."""
    finding = Finding(check="races", weight=Weight.NO_PRIMARY, words="two writers won")
    report = ProbeReport(endpoint="site_b", at=0.0, findings=(finding,), figures={}, traits={})
    (folder_of(storage_settings, "site_b") / PROBE_KEY).write_bytes(report.encode())

    status, document = run("primary", "move", "site_b")

    assert status == 2
    assert "two writers won" in document["message"]


def test_a_hold_is_placed_listed_and_lifted(run: Run, storage_settings: StorageSettings) -> None:
    """It needs a reason; what it names stays."""
    digest = next(path.name for path in folder_of(storage_settings, "site_a").rglob("man/*/*"))
    assert run("hold", digest)[0] == 2

    assert run("hold", digest, "--reason", "audit 7")[1] == [{"manifest": digest, "reason": "audit 7"}]
    assert run("hold")[1] == [{"manifest": digest, "reason": "audit 7"}]
    assert run("hold", digest, "--lift")[1] == []
