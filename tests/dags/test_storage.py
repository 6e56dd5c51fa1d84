"""The DAG file that keeps the store sound."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from operators import connections
from operators.collect import CollectOperator
from operators.core.errors import StorageError
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.settings import StorageSettings
from operators.core.storage import initialise, open_store
from operators.core.storage.audit import trail
from operators.scrub import ScrubOperator

FILE = Path(__file__).resolve().parents[2] / "dags" / "storage.py"


def test_the_file_is_wiring_only() -> None:
    """At most 60 lines, with triage notes."""
    text = FILE.read_text()

    assert len(text.splitlines()) <= 60
    assert "### Triage" in text


@pytest.fixture
def connected(storage_settings: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    """A store with a result and an orphan, which the operators' connections name."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    store.commit(Manifest.of(StageCall(stage="test", revision=1), Made(files=(store.put_bytes("a", b"a" * 99),))))
    store.put_bytes("orphan", b"orphan")
    store.close()
    monkeypatch.setattr(connections, "store_settings", lambda: storage_settings)
    return storage_settings


def test_a_scrub_mends_and_goes_on_record(connected: StorageSettings, tmp_path: Path) -> None:
    """A copy that was lost is back; the next run starts where this one stopped."""
    next((tmp_path / "site_b").rglob("obj/*/*")).unlink()
    params = {"params": {"deep_parts": 100, "megabytes_per_second": 0}}

    digests = [ScrubOperator(task_id="scrub").execute(params) for _ in range(2)]

    store = open_store(connected)
    first, second = (store.manifest(digest).facts for digest in digests)
    assert (first["missing"], first["repaired"], second["missing"]) == (1, 1, 0)
    assert (first["parts"][0], second["parts"][0], second["next_part"]) == (0, 100, 200)


def test_a_scrub_is_red_while_an_endpoint_does_not_count(connected: StorageSettings, tmp_path: Path) -> None:
    """The message names it."""
    shutil.rmtree(tmp_path / "site_c")
    (tmp_path / "site_c").mkdir()

    with pytest.raises(StorageError, match="site_c"):
        ScrubOperator(task_id="scrub").execute({"params": {"deep_parts": 0, "megabytes_per_second": 0}})


def test_collecting_is_dry_then_lists_then_waits_then_deletes(connected: StorageSettings, tmp_path: Path) -> None:
    """One step a run; the orphan is gone after the last, and nothing else."""
    for path in tmp_path.rglob("*/obj/*/*"):
        os.utime(path, (0, 0))

    def step(**params: object) -> dict[str, object]:
        form = {"dry_run": False, "grace_days": 1 / 86400, "max_share": 0.5, **params}
        run = SimpleNamespace(dag_id="collect_garbage", run_id=f"run-{time.monotonic_ns()}", task_id="collect")
        return CollectOperator(task_id="collect").execute({"params": form, "ti": run})

    assert step(dry_run=True)["keys"] == 1
    assert step()["keys"] == 1
    assert "grace" in str(step()["waits_for"])
    assert len(list(tmp_path.rglob("*/obj/*/*"))) == 6
    time.sleep(1.1)

    assert step()["keys"] == 1
    assert len(list(tmp_path.rglob("*/obj/*/*"))) == 3
    assert [entry.change.action for entry in trail(open_store(connected))] == ["collect garbage"] * 2
