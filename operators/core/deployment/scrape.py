"""What a server's metrics say of each version, and what was counted between two looks at them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """Counters of one version since its server started."""

    failed: float = 0.0
    buckets: tuple[tuple[float, float], ...] = ()
    """(upper bound in seconds, answers at most that slow), bounds rising to infinity."""
    labels: Mapping[str, float] = field(default_factory=dict)

    @property
    def answered(self) -> float:
        """Answers counted."""
        return self.buckets[-1][1] if self.buckets else 0.0

    def since(self, old: Sample) -> Sample:
        """Return what was counted after `old`; a server that restarted counts from zero."""
        if self.answered < old.answered or self.failed < old.failed:
            return self
        earlier = dict(old.buckets)
        return Sample(
            failed=self.failed - old.failed,
            buckets=tuple((bound, count - earlier.get(bound, 0.0)) for bound, count in self.buckets),
            labels={name: count - old.labels.get(name, 0.0) for name, count in self.labels.items()},
        )

    def slower_than(self, seconds: float) -> float:
        """Return how many answers took longer; `seconds` is a bound of the buckets."""
        return self.answered - dict(self.buckets).get(seconds, self.answered)


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """Texts that a candidate answered in shadow, by what the current version had answered."""

    alike: float = 0.0
    otherwise: float = 0.0

    def plus(self, other: Copied) -> Copied:
        """Return both together."""
        return Copied(alike=self.alike + other.alike, otherwise=self.otherwise + other.otherwise)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scrape:
    """One look at a server's metrics, by version."""

    everything: Mapping[str, Sample]
    """Every request, those that name their version and our own included."""
    callers: Mapping[str, Sample]
    """Of the split: what callers asked while a candidate answered a share."""
    shadow: Mapping[str, Sample]
    """Copies of callers' requests."""
    copied: Mapping[str, Copied]
    """Texts that a candidate answered in shadow."""


@dataclass(kw_only=True, slots=True)
class _Building:
    buckets: dict[float, float] = field(default_factory=dict)
    labels: dict[str, float] = field(default_factory=dict)
    failed: float = 0.0

    def sample(self) -> Sample:
        return Sample(failed=self.failed, buckets=tuple(sorted(self.buckets.items())), labels=self.labels)


def read_scrape(text: str) -> Scrape:
    """Read the Prometheus exposition of a server."""
    found: dict[str, dict[str, _Building]] = defaultdict(lambda: defaultdict(_Building))
    copied: dict[str, Copied] = defaultdict(Copied)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            one = found[sample.labels.get("kind", "everything")][sample.labels.get("version", "")]
            match sample.name:
                case "nightshift_request_seconds_bucket" | "nightshift_arm_seconds_bucket":
                    one.buckets[float(sample.labels["le"])] = sample.value
                case "nightshift_failures_total" | "nightshift_arm_failures_total":
                    one.failed = sample.value
                case "nightshift_arm_labels_total":
                    one.labels[sample.labels["label"]] = sample.value
                case "nightshift_shadow_texts_total":
                    side = "alike" if sample.labels["agrees"] == "yes" else "otherwise"
                    version = sample.labels["version"]
                    copied[version] = copied[version].plus(Copied(**{side: sample.value}))
    kinds = {
        kind: {version: one.sample() for version, one in found[kind].items()}
        for kind in ("everything", "callers", "shadow")
    }
    return Scrape(**kinds, copied=dict(copied))


def summed(samples: Sequence[Sample]) -> Sample:
    """Return the counters of several servers together."""
    buckets: dict[float, float] = defaultdict(float)
    labels: dict[str, float] = defaultdict(float)
    for sample in samples:
        for bound, count in sample.buckets:
            buckets[bound] += count
        for name, count in sample.labels.items():
            labels[name] += count
    failed = sum(sample.failed for sample in samples)
    return Sample(failed=failed, buckets=tuple(sorted(buckets.items())), labels=labels)


def quantile(sample: Sample, part: float) -> float:
    """Return a quantile of the answering time in seconds, linear within its bucket as Prometheus has it."""
    rank, low, below = part * sample.answered, 0.0, 0.0
    if rank == 0:
        return 0.0
    for bound, count in sample.buckets:
        if count >= rank:
            return low if math.isinf(bound) else low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low
