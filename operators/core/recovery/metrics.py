"""What Prometheus is told of a recovery: how old the archived log is, and what the last drill showed."""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily

from operators.core.recovery.base_backups import newest_base
from operators.core.recovery.covering import log_archived_at
from operators.core.recovery.drill import past_drills
from operators.core.storage import Store
from operators.core.storage.metrics import Families, SeriesByStore


class RecoveryMetrics(SeriesByStore):
    """When PostgreSQL's log was last archived, and the last drill, of whichever store knows."""

    def families(self) -> Families:
        """Return the families, without samples."""

        def gauge(name: str, words: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"nightshift_{name}", words, labels=["store"])

        return {
            "archived": gauge(
                "log_archived_timestamp_seconds", "When the newest segment of PostgreSQL's log was archived"
            ),
            "targets_met": gauge("drill_targets_met", "Whether the last drill met its targets"),
            "rpo_seconds": gauge("drill_rpo_seconds", "Of the last drill: age of the backup"),
            "rto_seconds": gauge(
                "drill_rto_seconds", "Of the last drill: from the kit to the first answered prediction"
            ),
        }

    def observe(self, name: str, store: Store, families: Families) -> None:
        """Add the samples of a store."""
        base = newest_base(store)
        archived_at = None if base is None else log_archived_at(store, base)
        if archived_at is not None:
            families["archived"].add_metric([name], archived_at)
        for facts in past_drills(store, 1):
            for fact in ("targets_met", "rpo_seconds", "rto_seconds"):
                if fact in facts:
                    families[fact].add_metric([name], float(facts[fact]))
