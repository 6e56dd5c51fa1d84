"""What two versions that answer at the same time did with callers' requests, each counted for the version chosen first.

Apart from all other counters: a request that names its version is no caller's, and where a candidate broke and the
current version answered, the time and the label belong to neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

from operators.core.labels import names_in

if TYPE_CHECKING:
    from operators.core.deployment.server.versions import Resident
    from operators.core.models.classifier import Answer

Kind = Literal["callers", "shadow"]
"""Requests that the split shared out, or copies that both versions answered."""


class Arms:
    """Counters of callers' requests while a candidate answers some, or copies of them."""

    def __init__(self, model: str, registry: CollectorRegistry, seconds: Sequence[float]) -> None:
        """Register the series of `model`."""
        names = ("model", "version", "kind")
        self._seconds = Histogram(
            "nightshift_arm_seconds", "Time from reading a caller's request to its answer", names,
            buckets=seconds, registry=registry,
        )  # fmt: skip
        self._failures = Counter(
            "nightshift_arm_failures", "Callers' requests on which the version broke", names, registry=registry
        )
        self._labels = Counter(
            "nightshift_arm_labels", "Answers with this label, or with a span of this name", (*names, "label"),
            registry=registry,
        )  # fmt: skip
        self._copies = Counter(
            "nightshift_shadow_texts", "Texts that a candidate answered in shadow", (*names[:2], "agrees"),
            registry=registry,
        )  # fmt: skip
        self._model = model

    def answered(self, resident: Resident, kind: Kind, answers: Sequence[Answer], seconds: float) -> None:
        """Count an answer of the version that was chosen."""
        self._seconds.labels(self._model, resident.version, kind).observe(seconds)
        for answer in answers:
            for name in set(names_in(answer.label, resident.classifier.card.task)) or {""}:
                self._labels.labels(self._model, resident.version, kind, name).inc()

    def failed(self, version: str, kind: Kind) -> None:
        """Count a request on which the version that was chosen broke."""
        self._failures.labels(self._model, version, kind).inc()

    def compared(self, version: str, current: Sequence[Answer], candidate: Sequence[Answer]) -> None:
        """Count where a candidate's answers in shadow agree with the current version's."""
        for ours, theirs in zip(candidate, current, strict=True):
            agrees = "yes" if ours.label == theirs.label else "no"
            self._copies.labels(self._model, version, agrees).inc()
