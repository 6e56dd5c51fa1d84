"""`nightshift reveal`: what stands behind a pseudonym, for who has the vault's key and says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operators.cli import main
from operators.core.anonymisation.pseudonyms import pseudonym
from operators.core.ingestion.ingest import ingest
from operators.core.ingestion.spec import IngestionSpec
from operators.core.progress import no_progress
from operators.core.settings import StorageSettings
from operators.core.sources.discover import discover
from operators.core.storage import Store
from operators.core.storage.audit import trail
from operators.core.validation.validate import validate
from tests.core.mails import DAY, KEY, POLICY, SOURCE, SUITE, at, land, mail
from tests.core.vault import OTHER, PRIVATE, PUBLIC, pem_of

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

Run = Callable[..., tuple[int, Any]]
WORD = pseudonym("address", "kre3@munnari.oz.au", KEY)


def _ingested(store: Store, folder: Path, **changes: Any) -> Any:
    land(folder, DAY, [mail(number) for number in range(5)])
    common = {"landing": at(folder), "source": SOURCE, "progress": no_progress}
    listing = discover(
        store, landing=at(folder), spec=SOURCE, first_day=DAY, last_day=DAY, progress=no_progress, groups=1
    )[0].digest
    validation = validate(store, listing=listing, spec=SUITE, **common).digest
    settings = {"anonymisation": replace(POLICY, reversible=True), "vault_key": PUBLIC, **changes}
    return ingest(store, validation=validation, spec=IngestionSpec(), key=KEY, **settings, **common)


@pytest.fixture
def run(store: Store, storage_settings: StorageSettings, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run reveal with `--json` on a store that holds five mails of a reversible recipe."""
    _ingested(store, tmp_path)
    path = tmp_path / "storage.json"
    path.write_text(storage_settings.to_json())
    (tmp_path / "vault.pem").write_bytes(pem_of(PRIVATE))
    (tmp_path / "other.pem").write_bytes(pem_of(OTHER))

    def call(word: str, reason: str, key: str = "vault.pem") -> tuple[int, Any]:
        capsys.readouterr()
        arguments = ["reveal", word, "--reason", reason, "--vault-key", str(tmp_path / key)]
        status = main([*arguments, "--storage-file", str(path), "--json"])
        return status, json.loads(capsys.readouterr().out)

    return call


def test_the_original_is_shown_and_the_trail_says_why(run: Run, store: Store) -> None:
    """One value, and one entry that does not hold it."""
    status, answer = run(WORD, "case 17")
    entry = trail(store)[-1].change

    assert (status, answer["original"]) == (0, "kre3@munnari.oz.au")
    assert (entry.action, entry.subject, entry.detail) == ("reveal", WORD, "case 17")
    assert "munnari" not in str(trail(store))


@pytest.mark.parametrize(
    ("word", "reason", "key", "why"),
    [
        ("address_aaaaaaaaaa", "case 17", "vault.pem", "no part has an original"),
        (WORD, " ", "vault.pem", "--reason is empty"),
        (WORD, "case 17", "other.pem", "which this is not"),
    ],
)
def test_what_is_refused_shows_nothing_and_leaves_no_entry(
    run: Run, store: Store, word: str, reason: str, key: str, why: str
) -> None:
    """An unknown pseudonym, no reason, another vault's key."""
    status, answer = run(word, reason, key)

    assert status == 2
    assert why in answer["message"]
    assert trail(store) == []


def test_without_an_entry_nothing_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trail comes first: a store that does not take the entry keeps the value closed."""

    def away(*_: object) -> None:
        raise OSError("the store is read-only")

    monkeypatch.setattr("operators.cli.revealing.note_change", away)
    status, answer = run(WORD, "case 17")

    assert status == 2
    assert "original" not in answer


@pytest.mark.parametrize(("reversible", "vault_key"), [(True, None), (False, PUBLIC)])
def test_a_reversible_policy_and_the_vault_s_key_go_together(
    store: Store, tmp_path: Path, reversible: bool, vault_key: str | None
) -> None:
    """Neither is silently left out."""
    with pytest.raises(ValueError, match="nightshift_vault"):
        _ingested(store, tmp_path, anonymisation=replace(POLICY, reversible=reversible), vault_key=vault_key)
