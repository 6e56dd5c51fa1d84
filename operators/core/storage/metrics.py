"""What Prometheus is told of a store: which endpoints count, how old each stream's newest entry is, the last scrub.

Everything is read from the store when it is asked for: no process that may end keeps it, and nothing is shared.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from operators.core.errors import NightshiftError
from operators.core.settings import StorageSettings
from operators.core.storage.listing import stream_names
from operators.core.storage.scrubbing import STREAM as SCRUBS
from operators.core.storage.store import Store, open_store

SCRUBBED = ("keys", "bytes", "read_copies", "read_bytes", "missing", "damaged", "repaired", "left", "lost")
"""Numbers of a scrub's report."""

log = logging.getLogger(__name__)


class StoreMetrics(Collector):
    """Series of several stores, each labelled with the name that it is given here."""

    def __init__(self, stores: Mapping[str, StorageSettings]) -> None:
        """Say what the stores are; nothing is contacted yet.

        Args:
            stores: Name, as `store` and `backup`, to settings; those of readers are enough.
        """
        self._stores = stores

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples, so that registering does not ask the stores."""
        return _families().values()

    def collect(self) -> Iterable[Metric]:
        """Ask every store; one that does not answer is `nightshift_store_readable 0` and has no other series."""
        families = _families()
        for name, settings in self._stores.items():
            readable = 1.0
            try:
                store = open_store(settings)
                try:
                    _observe(name, store, families)
                finally:
                    store.close()
            except NightshiftError as error:
                log.warning("store %s cannot be read: %s", name, error)
                readable = 0.0
            families["readable"].add_metric([name], readable)
        return families.values()


def _families() -> dict[str, GaugeMetricFamily]:
    def gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"nightshift_{name}", words, labels=["store", *labels])

    scrubs = {name: gauge(f"scrub_{name}", f"Of the last scrub: {name.replace('_', ' ')}") for name in SCRUBBED}
    return {
        "readable": gauge("store_readable", "Whether enough endpoints answer to read the store"),
        "counts": gauge("endpoint_counts", "Whether an endpoint answers, and is the one that is a member", "endpoint"),
        "primary": gauge("endpoint_primary", "Whether an endpoint is the one that decides commits", "endpoint"),
        "entries": gauge("stream_entries", "Generations of a stream", "stream"),
        "written": gauge("stream_written_timestamp_seconds", "When a stream's newest entry was written", "stream"),
        **scrubs,
    }


def _observe(name: str, store: Store, families: Mapping[str, GaugeMetricFamily]) -> None:
    record = store.membership.read_record()
    counting = store.membership.ask_counted(record, lambda endpoint, line: True)
    for endpoint in record.names:
        families["counts"].add_metric([name, endpoint], float(endpoint in counting))
        families["primary"].add_metric([name, endpoint], float(endpoint == record.primary))
    for stream in stream_names(store):
        head, written = store.stream(stream).head(), store.stream(stream).written()
        if head is None or written is None:
            continue
        families["entries"].add_metric([name, stream], head.generation + 1)
        families["written"].add_metric([name, stream], written)
        if stream == SCRUBS:
            facts = store.manifest(head.manifest).facts
            for number in SCRUBBED:
                families[number].add_metric([name], float(facts[number]))
