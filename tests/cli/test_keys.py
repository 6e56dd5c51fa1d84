"""`nightshift rotate-master-key`, and the other commands on an encrypted store."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operators.cli import main
from operators.core.settings import EncryptionSettings, StorageSettings
from operators.core.storage import initialise, open_store
from operators.local import ports, services
from operators.local.credentials import load_credentials
from operators.local.layout import Layout
from tests.core.recovery.conftest import make_release
from tests.encryption import ENCRYPTION, ROTATED, SECOND

Run = Callable[..., tuple[int, Any]]
NEW_ONLY = EncryptionSettings(masters=(SECOND,), current=2)


@pytest.fixture
def run(
    storage_settings: StorageSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Run:
    """Run a command with `--json` and the keys that are given first; a release lies in the store."""
    monkeypatch.delenv("NIGHTSHIFT_STORAGE", raising=False)
    initialise(storage_settings, rounds=0)
    store = open_store(replace(storage_settings, encryption=ENCRYPTION))
    make_release(store, "2002-09-26", b"the rows of a day")
    store.close()

    def call(encryption: EncryptionSettings | None, *arguments: str) -> tuple[int, Any]:
        path = tmp_path / "storage.json"
        path.write_text(replace(storage_settings, encryption=encryption).to_json())
        capsys.readouterr()
        status = main([*arguments, "--storage-file", str(path), "--json"])
        return status, json.loads(capsys.readouterr().out)

    return call


def test_files_of_an_encrypted_store_are_fetched_in_the_clear(run: Run, tmp_path: Path) -> None:
    """`get` and `verify` need the keys, `lineage` and `ls` do not."""
    status, _ = run(ENCRYPTION, "get", "latest:dataset-mail", "-o", str(tmp_path / "out"))

    assert status == 0
    assert (tmp_path / "out" / "train" / "0.parquet").read_bytes() == b"the rows of a day"
    assert run(ENCRYPTION, "verify", "latest:release-mail")[1]["damaged"] == []
    assert run(None, "lineage", "latest:release-mail")[0] == 0
    assert run(None, "ls", "streams")[0] == 0


def test_without_keys_the_status_is_wrong_use(run: Run, tmp_path: Path) -> None:
    """No retry helps: status 2 and what is missing, and no file appears."""
    status, document = run(None, "get", "latest:dataset-mail", "-o", str(tmp_path / "out"))

    assert (status, document["error"]) == (2, "KeyMissing")
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_the_master_key_is_rotated_and_the_old_one_dropped(run: Run) -> None:
    """Two steps: first both open everything, then the new one alone does."""
    assert run(ROTATED, "rotate-master-key")[1]["written"] == 3 * 4
    assert run(ENCRYPTION, "verify", "latest:release-mail")[1]["damaged"] == []
    status, document = run(ROTATED, "rotate-master-key", "--drop-old")

    assert (status, document["written"], document["dropped"]) == (0, 0, 3 * 5)
    assert run(NEW_ONLY, "verify", "latest:release-mail")[0] == 0
    assert run(ENCRYPTION, "verify", "latest:release-mail")[0] == 2


def test_an_endpoint_that_is_away_makes_status_1(run: Run, tmp_path: Path) -> None:
    """All is wrapped on two, the third is named: run it again when it is back."""
    (tmp_path / "site_b").rename(tmp_path / "away")

    status, document = run(ROTATED, "rotate-master-key")
    assert (status, document["behind"], document["lost"]) == (1, ["site_b"], [])
    (tmp_path / "away").rename(tmp_path / "site_b")
    assert run(ROTATED, "rotate-master-key")[0] == 0


def test_a_new_version_is_made_for_the_platform_only(run: Run) -> None:
    """A store that a file names has its keys elsewhere: refused, and it is said where."""
    status, document = run(ROTATED, "rotate-master-key", "--new")

    assert status == 2
    assert "connection nightshift_store" in document["message"]


def test_a_platform_makes_its_next_version_and_rotates(
    storage_settings: StorageSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    short_path: Path,
) -> None:
    """The version is in its files before anything is wrapped with it, and what to do next is said."""
    layout = Layout(home=short_path / "h")
    layout.make()
    placed = ports.wanted_ports({})
    credentials = load_credentials(layout)
    ports.save(layout, placed)
    services.configure(layout, placed, credentials, Path("/dags"))
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(layout.home))
    monkeypatch.delenv("NIGHTSHIFT_STORAGE", raising=False)
    # The platform's settings, but directories for its servers.
    monkeypatch.setattr(
        "operators.local.seaweedfs.store_settings",
        lambda _, __, credentials: replace(storage_settings, encryption=credentials.encryption),
    )
    initialise(storage_settings, rounds=0)
    store = open_store(replace(storage_settings, encryption=credentials.encryption))
    entry = store.put_bytes("x", b"content")

    assert main(["rotate-master-key", "--new"]) == 0
    assert "--drop-old" in capsys.readouterr().out
    assert main(["rotate-master-key", "--drop-old"]) == 0
    renewed = load_credentials(layout).encryption
    assert renewed.current == 2
    only_new = replace(renewed, masters=renewed.masters[1:])
    assert open_store(replace(storage_settings, encryption=only_new)).read(entry) == b"content"
