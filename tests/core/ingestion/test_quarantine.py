"""What is held back can be found again in the landing zone, by whoever mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.cli import main
from operators.core.ingestion.quarantine import QuarantinedRow, quarantined_rows
from operators.core.settings import StorageSettings
from operators.core.storage import Store
from tests.core.ingestion.test_ingest import publish_window
from tests.core.mails import DAY, land, mail

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
SECRET = "planted-label"
ROWS = [mail(n) for n in range(20)]


def test_every_row_that_is_held_back_is_named(store: Store, tmp_path: Path) -> None:
    """By day, file and number from 1, with its reason; those that ingestion itself left out, too."""
    bad = [*ROWS[:3], mail(3, label=SECRET), *ROWS[4:9], mail(9, headers="Subject: \u200b", body=" \n")]
    path = land(tmp_path / "landing", DAY, bad)
    land(tmp_path / "landing", DAY, [{**row, "id": f"more/{n:05d}"} for n, row in enumerate(ROWS)], name="sound")
    dataset = publish_window(store, tmp_path / "landing")

    name = f"mail/dt={DAY}/{path.name}"
    assert list(quarantined_rows(store, dataset.manifest)) == [
        QuarantinedRow(day=str(DAY), path=name, row=4, reason="label_unknown"),
        QuarantinedRow(day=str(DAY), path=name, row=10, reason="text_empty"),
    ]


def test_a_person_lists_them(
    store: Store,
    storage_settings: StorageSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line a row and the sum; the value that was wrong stands nowhere."""
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", storage_settings.to_json())
    land(tmp_path / "landing", DAY, [*ROWS, mail(20, label=SECRET)])
    publish_window(store, tmp_path / "landing")
    status = main(["quarantine", "latest:dataset-tiny"])
    told = capsys.readouterr().out

    assert status == 0
    assert "row 21  label_unknown" in told and "1 of 21 rows are held back: 1 label_unknown" in told
    assert SECRET not in told
