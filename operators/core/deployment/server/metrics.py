"""What a server tells Prometheus, every series labelled with the version it speaks of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from operators.core.deployment.server.arms import Arms
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
TEXTS = (1, 2, 4, 8, 16, 32, 64)
"""Upper bounds of a batch's texts."""


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
            "nightshift_refused", "Requests not answered: wrong, too large, too slow, no room, too late, not served",
            ("model", "reason"), registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "nightshift_request_seconds", "Time from reading a request to its answer", names,
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._queue_seconds = Histogram(
            "nightshift_queue_seconds", "Time that a request waited for its batch", names,
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._model_seconds = Histogram(
            "nightshift_model_seconds", "Time that a batch took, its texts' tokens included", names,
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._batch_texts = Histogram(
            "nightshift_batch_texts", "Texts computed together", names, buckets=TEXTS, registry=self.registry
        )
        self._queue_texts = Gauge("nightshift_queue_texts", "Texts that wait", ("model",), registry=self.registry)
        self.arms = Arms(model, self.registry, SECONDS)
        self._model = model
        self.registry.register(_Shares(model, versions))

    def watch_queue(self, waiting_texts: Callable[[], float]) -> None:
        """Ask this at each scrape how many texts wait."""
        self._queue_texts.labels(self._model).set_function(waiting_texts)

    def answered(self, version: str, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(self._model, version).inc()
        self._seconds.labels(self._model, version).observe(seconds)

    def failed(self, version: str) -> None:
        """Count a request on which a version broke."""
        self._failures.labels(self._model, version).inc()

    def computed(self, version: str, texts: int, seconds: float, waited: Sequence[float]) -> None:
        """Count a batch: its texts, what they took together, and how long each of its requests had waited."""
        self._model_seconds.labels(self._model, version).observe(seconds)
        self._batch_texts.labels(self._model, version).observe(texts)
        queue = self._queue_seconds.labels(self._model, version)
        for one in waited:
            queue.observe(one)

    def refused(self, reason: str) -> None:
        """Count a request that was not answered, and why."""
        self._refused.labels(self._model, reason).inc()

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
