"""What Prometheus is told of a store: which endpoints count, how old each stream's newest entry is, the last scrub.

Everything is read from the store when it is asked for: no process that may end keeps it, and nothing is shared.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import closing

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


Families = Mapping[str, GaugeMetricFamily]


class SeriesByStore(Collector, ABC):
    """Series of several stores, each labelled with the name that it is given here."""

    def __init__(self, stores: Mapping[str, StorageSettings]) -> None:
        """Say what the stores are; nothing is contacted yet.

        Args:
            stores: Name, as `store` and `backup`, to settings; those of readers are enough.
        """
        self._stores = stores

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples, so that registering does not ask the stores."""
        return self.families().values()

    def collect(self) -> Iterable[Metric]:
        """Ask every store; what one does not tell has no sample."""
        families = self.families()
        for name, settings in self._stores.items():
            try:
                with closing(open_store(settings)) as store:
                    self.observe(name, store, families)
            except NightshiftError as error:
                log.warning("%s of %s cannot be read: %s", type(self).__name__, name, error)
                self.unread(name, families)
        return families.values()

    @abstractmethod
    def families(self) -> Families:
        """Return the families, without samples."""

    @abstractmethod
    def observe(self, name: str, store: Store, families: Families) -> None:
        """Add the samples of a store."""

    def unread(self, name: str, families: Families) -> None:
        """Add what is known of a store that could not be read: nothing."""


class StoreMetrics(SeriesByStore):
    """Whether a store can be read, its endpoints, its streams and its last scrub."""

    def families(self) -> Families:
        """Return the families, without samples."""

        def gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"nightshift_{name}", words, labels=["store", *labels])

        scrubs = {name: gauge(f"scrub_{name}", f"Of the last scrub: {name.replace('_', ' ')}") for name in SCRUBBED}
        return {
            "readable": gauge("store_readable", "Whether enough endpoints answer to read the store"),
            "counts": gauge(
                "endpoint_counts", "Whether an endpoint answers, and is the one that is a member", "endpoint"
            ),
            "primary": gauge("endpoint_primary", "Whether an endpoint is the one that decides commits", "endpoint"),
            "entries": gauge("stream_entries", "Generations of a stream", "stream"),
            "written": gauge("stream_written_timestamp_seconds", "When a stream's newest entry was written", "stream"),
            **scrubs,
        }

    def observe(self, name: str, store: Store, families: Families) -> None:
        """Add the samples of a store."""
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
        families["readable"].add_metric([name], 1.0)

    def unread(self, name: str, families: Families) -> None:
        """Say that a store could not be read."""
        families["readable"].add_metric([name], 0.0)
