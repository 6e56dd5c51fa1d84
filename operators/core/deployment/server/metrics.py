"""What a server tells Prometheus, every series labelled with the version it speaks of."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from operators.core.deployment.server.versions import Versions

SECONDS = (
    0.001,
    0.002,
    0.004,
    0.006,
    0.008,
    0.012,
    0.016,
    0.024,
    0.032,
    0.05,
    0.075,
    0.1,
    0.15,
    0.25,
    0.5,
    1,
    2,
    4,
    8,
    16,
)
"""Upper bounds of the histogram, in seconds: dense where an int8 encoder answers, a factor of two beyond."""


class ServerMetrics:
    """Counters of one server; the shares are read from `versions` at each scrape."""

    def __init__(self, model: str, versions: Versions) -> None:
        """Register the series of `model` in a registry of their own."""
        self.registry = CollectorRegistry()
        names = ("model", "version")
        self._requests = Counter("nightshift_requests", "Requests answered", names, registry=self.registry)
        self._failures = Counter(
            "nightshift_failures", "Requests on which a version failed, answered by another or not", names,
            registry=self.registry,
        )  # fmt: skip
        self._refused = Counter(
            "nightshift_refused", "Requests refused as wrong input", ("model",), registry=self.registry
        )
        self._seconds = Histogram(
            "nightshift_request_seconds", "Time from reading a request to its answer", names,
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._model = model
        self.registry.register(_Shares(model, versions))

    def answered(self, version: str, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(self._model, version).inc()
        self._seconds.labels(self._model, version).observe(seconds)

    def failed(self, version: str) -> None:
        """Count a request on which a version broke."""
        self._failures.labels(self._model, version).inc()

    def refused(self) -> None:
        """Count a request that was wrong itself."""
        self._refused.labels(self._model).inc()

    def text(self) -> bytes:
        """Return the exposition in Prometheus' text format."""
        return generate_latest(self.registry)


class _Shares(Collector):
    """Share of the requests of each resident version."""

    def __init__(self, model: str, versions: Versions) -> None:
        self._model, self._versions = model, versions

    def collect(self) -> Iterable[Metric]:
        """Read the shares as they are now."""
        traffic = self._versions.traffic
        family = GaugeMetricFamily(
            "nightshift_share", "Share of the requests that a resident version answers", labels=["model", "version"]
        )
        for version in sorted(traffic.releases):
            current = 1.0 - traffic.share if version == traffic.current else 0.0
            family.add_metric([self._model, version], traffic.share if version == traffic.candidate else current)
        yield family
