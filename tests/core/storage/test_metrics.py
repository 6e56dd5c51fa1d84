"""What Prometheus is told of a store."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from operators.core.manifest import sha256_hex
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store
from operators.core.storage.metrics import SCRUBBED, StoreMetrics
from operators.core.storage.scrubbing import ScrubSpec, scrub_storage


@pytest.fixture
def asked(store: Store, storage_settings: StorageSettings) -> CollectorRegistry:
    """The series of a store with one release."""
    store.stream("release-mail_triage").append(sha256_hex(b"release"), None)
    registry = CollectorRegistry()
    registry.register(StoreMetrics({"store": storage_settings}))
    return registry


def test_streams_have_an_age_and_a_length(asked: CollectorRegistry) -> None:
    """The newest entry's time is now, and there is one."""
    labels = {"store": "store", "stream": "release-mail_triage"}
    written = asked.get_sample_value("nightshift_stream_written_timestamp_seconds", labels)

    assert written is not None and abs(time.time() - written) < 60
    assert asked.get_sample_value("nightshift_stream_entries", labels) == 1


def test_a_wiped_endpoint_does_not_count(asked: CollectorRegistry, tmp_path: Path) -> None:
    """It is told apart from those that do; the store can be read all the same."""
    shutil.rmtree(tmp_path / "site_c")
    (tmp_path / "site_c").mkdir()

    def value(name: str, **labels: str) -> float | None:
        return asked.get_sample_value(f"nightshift_{name}", {"store": "store", **labels})

    assert [value("endpoint_counts", endpoint=f"site_{x}") for x in "abc"] == [1, 1, 0]
    assert [value("endpoint_primary", endpoint=f"site_{x}") for x in "abc"] == [1, 0, 0]
    assert value("store_readable") == 1


def test_the_last_scrub_is_told(asked: CollectorRegistry, store: Store, tmp_path: Path) -> None:
    """Every number of its report, as it is on record; before the first there is none."""
    assert asked.get_sample_value("nightshift_scrub_left", {"store": "store"}) is None
    store.put_bytes("a", b"a" * 99)
    next((tmp_path / "site_b").rglob("obj/*/*")).unlink()
    scrub_storage(store, ScrubSpec(deep_parts=0))

    assert asked.get_sample_value("nightshift_scrub_repaired", {"store": "store"}) == 1
    told = {name: asked.get_sample_value(f"nightshift_scrub_{name}", {"store": "store"}) for name in SCRUBBED}
    assert None not in told.values()


def test_a_store_that_is_away_is_said_to_be(storage_settings: StorageSettings, asked: CollectorRegistry) -> None:
    """One that cannot be read spoils nothing of the other, and has no other series."""
    nowhere = EndpointSettings(name="nowhere", url="s3://nobody", endpoint_url="http://127.0.0.1:9")
    away = dataclasses.replace(storage_settings, endpoints=(nowhere,), acknowledge=1)
    registry = CollectorRegistry()
    registry.register(StoreMetrics({"backup": away, "store": storage_settings}))

    assert registry.get_sample_value("nightshift_store_readable", {"store": "backup"}) == 0
    assert registry.get_sample_value("nightshift_store_readable", {"store": "store"}) == 1
