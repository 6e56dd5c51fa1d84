"""The runbook's commands on a platform that has the loss they are for, in a shell, in the checkout's folder."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from operators.core.deployment.releases import ReleaseLine
from operators.core.storage import Store
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.objects import object_key
from operators.core.storage.records import Member
from operators.local import ports
from operators.local.layout import REPOSITORY
from tests.e2e.bed import DAY, PARAMS, Bed
from tests.e2e.test_recovery import back_up
from tests.runbook import ON_A_PLATFORM

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]

DEMO = "make dr-demo"
"""Run by tests/e2e/test_recovery.py."""


class Shell:
    """Types commands of the runbook, with its words replaced by what they stand for here."""

    def __init__(self, bed: Bed, folder: Path) -> None:
        self.bed, self.folder, self.typed = bed, folder, set[str]()
        params = " ".join(f"{name}={value}" for name, value in PARAMS.items())
        self.words = {
            "make run": f"make run DAY={DAY} PARAMS='{params}'",
            "nightshift ": f"{REPOSITORY}/.venv/bin/nightshift ",
            "20000": str(ports.free_base(os.getpid() + 501)),
            "kit.json": str(folder / "kit.json"),
            "FILE": str(folder / "kit.json"),
            "new-store.json": str(folder / "new-store.json"),
            "backup.json": str(bed.layout.secrets / "backup.json"),
        }

    def __call__(self, command: str, status: int = 0) -> str:
        """Type a command, which must end with a status; return what it said."""
        assert command in ON_A_PLATFORM
        self.typed.add(command)
        return self.line(command, status)

    def line(self, line: str, status: int = 0) -> str:
        """Type what is not the runbook's, as it is but for the same words."""
        for word, meant in self.words.items():
            line = line.replace(word, meant)
        done = subprocess.run(
            ["bash", "-c", line], env=self.bed.environment(), cwd=REPOSITORY, text=True, check=False, timeout=1800,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == status, f"{line} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout


def lose_dataset(store: Store) -> None:
    """Have the newest data set's files on no endpoint."""
    head = store.stream("dataset-mail_triage").head()
    assert head is not None
    keys = [object_key("obj", entry.stored_sha256) for entry in store.manifest(head.manifest).files]

    def delete(endpoint: Endpoint, line: Member) -> None:
        for key in keys:
            endpoint.delete(f"{line.incarnation}/{key}")

    store.membership.ask_counted(store.record, delete)


def empty_place(bed: Bed, folder: Path) -> str:
    """Return settings of a store in three new folders, with the keys of the platform's."""
    document = json.loads(bed.stores()[0].to_json())
    names = [endpoint["name"] for endpoint in document["endpoints"]]
    for name in names:
        (folder / name).mkdir()
    document["endpoints"] = [{"name": name, "url": (folder / name).as_uri()} for name in names]
    return json.dumps({**document, "cache": None})


def test_each_command_does_what_the_runbook_says(make_bed: Callable[[], Bed], tmp_path: Path) -> None:
    """A red drill, a lost data set, a lost database, a release's own backup elsewhere, other ports, an end."""
    bed = make_bed()
    shell = Shell(bed, tmp_path)
    shell("make setup")
    shell("make run")
    assert "last backup" in shell("make status")
    with contextlib.closing(bed.store()) as store:
        live = ReleaseLine(store, "mail_triage").live
    assert live is not None
    shell("nightshift recovery-key FILE")
    back_up(bed.home, bed.environment())

    told = shell("nightshift drill")
    assert "all targets met" in told and "steps trained again: their losses differ by 0.00%" in told
    shell("nightshift forget --pending")

    with contextlib.closing(bed.store()) as store:
        lose_dataset(store)
    shell.line("nightshift verify latest:dataset-mail_triage", 1)
    shell("make stop")
    shell("nightshift restore --kit kit.json --only dataset-mail_triage")
    bed.layout.airflow_database.rename(tmp_path / "airflow.db")
    assert "results that no run" in shell("nightshift restore --kit kit.json")
    assert bed.layout.airflow_database.exists()
    assert "(found)" in shell("make run")
    shell.line("nightshift verify latest:dataset-mail_triage")

    (tmp_path / "new-store.json").write_text(empty_place(bed, tmp_path))
    shell("nightshift restore latest:backup-mail_triage --target-file new-store.json --backup-file backup.json")
    shell.line("nightshift verify latest:release-mail_triage --storage-file new-store.json")

    assert "stopped" in shell("make stop")
    assert "nothing was up" in shell("make stop")
    assert live.version in shell("NIGHTSHIFT_PORT_BASE=20000 make run")
    shell("make stop")
    assert shell.typed == ON_A_PLATFORM - {DEMO}
