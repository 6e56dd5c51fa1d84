"""What Prometheus is told of a recovery: how old the archived log is, and what the last drill showed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import closing

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from operators.core.errors import NightshiftError
from operators.core.recovery.base_backups import newest_base
from operators.core.recovery.covering import log_archived_at
from operators.core.recovery.drill import past_drills
from operators.core.settings import StorageSettings
from operators.core.storage import Store, open_store

log = logging.getLogger(__name__)


class RecoveryMetrics(Collector):
    """Series of several stores, each labelled with the name that it is given here; read when they are asked for."""

    def __init__(self, stores: Mapping[str, StorageSettings]) -> None:
        """Say what the stores are, as `store` and `backup`; nothing is contacted yet."""
        self._stores = stores

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples, so that registering does not ask the stores."""
        return _families().values()

    def collect(self) -> Iterable[Metric]:
        """Ask every store; what one does not tell has no sample, and `nightshift_store_readable` says so."""
        families = _families()
        for name, settings in self._stores.items():
            try:
                with closing(open_store(settings)) as store:
                    _observe(name, store, families)
            except NightshiftError as error:
                log.warning("nothing is known of the recovery by store %s: %s", name, error)
        return families.values()


def _families() -> dict[str, GaugeMetricFamily]:
    def gauge(name: str, words: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"nightshift_{name}", words, labels=["store"])

    return {
        "archived": gauge("log_archived_timestamp_seconds", "When the newest segment of PostgreSQL's log was archived"),
        "targets_met": gauge("drill_targets_met", "Whether the last drill met its targets"),
        "rpo_seconds": gauge("drill_rpo_seconds", "Of the last drill: age of the backup"),
        "rto_seconds": gauge("drill_rto_seconds", "Of the last drill: from the kit to the first answered prediction"),
    }


def _observe(name: str, store: Store, families: Mapping[str, GaugeMetricFamily]) -> None:
    base = newest_base(store)
    archived_at = None if base is None else log_archived_at(store, base)
    if archived_at is not None:
        families["archived"].add_metric([name], archived_at)
    for facts in past_drills(store, 1):
        for fact in ("targets_met", "rpo_seconds", "rto_seconds"):
            if fact in facts:
                families[fact].add_metric([name], float(facts[fact]))
