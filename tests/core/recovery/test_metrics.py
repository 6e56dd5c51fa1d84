"""What Prometheus is told of a recovery, and what a backup says of the archived log."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from operators.core.recovery.covering import cover_database
from operators.core.recovery.drill import record_drill
from operators.core.recovery.metrics import RecoveryMetrics
from operators.core.recovery.spec import DrillSpec
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store
from tests.core.recovery.test_drill import FACTS
from tests.core.recovery.test_wal import base_at, put, segment


def value(stores: dict[str, StorageSettings], name: str, store: str) -> float | None:
    """Return what Prometheus is told now."""
    registry = CollectorRegistry()
    registry.register(RecoveryMetrics(stores))
    return registry.get_sample_value(f"nightshift_{name}", {"store": store})


def where(store: Store) -> StorageSettings:
    """Return the settings of a store in directories."""
    endpoints = [
        EndpointSettings(name=one.name, url=one.folder.as_uri())  # type: ignore[attr-defined]
        for one in store.membership.endpoints.values()
    ]
    return StorageSettings(endpoints=tuple(endpoints), acknowledge=store.record.acknowledge)


def test_the_archived_log_has_an_age_from_its_first_segment_on(backup: Store, tmp_path: Path) -> None:
    """Also where the newest base backup is younger than the log: it is then that the archive stands still."""
    stores = {"backup": where(backup)}
    base_at(backup, 1)

    assert value(stores, "log_archived_timestamp_seconds", "backup") is None
    put(backup, tmp_path, segment(1), "00000002.history")
    base_at(backup, 5)
    archived_at = value(stores, "log_archived_timestamp_seconds", "backup")
    assert archived_at is not None and abs(time.time() - archived_at) < 60


def test_a_backup_tells_how_long_the_log_stands_still(backup: Store, tmp_path: Path) -> None:
    """Though nothing of it follows the base backup, of which there is a new one each time."""
    base_at(backup, 1)
    assert cover_database(backup, None)["log_lag_seconds"] is None
    put(backup, tmp_path, segment(1))
    base_at(backup, 5)
    now = time.time()
    backup.membership.clock = lambda: now + 600  # type: ignore[method-assign]
    facts = cover_database(backup, None)

    assert facts["log"] is None
    assert facts["log_lag_seconds"] == pytest.approx(600, abs=60)


def test_the_last_drill_is_told(store: Store, storage_settings: StorageSettings) -> None:
    """Its figures and whether they were good enough; one that came to nothing has none, nor has an absent store."""
    away = StorageSettings(endpoints=(EndpointSettings(name="away", url="file:///nowhere"),), acknowledge=1)
    stores = {"store": storage_settings, "backup": away}

    assert value(stores, "drill_targets_met", "store") is None
    record_drill(store, FACTS, DrillSpec())
    told = [value(stores, f"drill_{name}", "store") for name in ("targets_met", "rpo_seconds", "rto_seconds")]
    assert told == [1, 10, 20]
    record_drill(store, {"error": "no"}, DrillSpec())
    assert [value(stores, f"drill_{name}", "store") for name in ("targets_met", "rto_seconds")] == [0, None]
    assert value(stores, "drill_targets_met", "backup") is None
