"""How a request that is not answered is refused, in both forms of the protocol."""

from __future__ import annotations

from dataclasses import dataclass

from operators.core.deployment.server.batcher import Overloaded, QueueFull
from operators.core.deployment.server.inference import NotServed
from operators.core.deployment.server.protocol import BadRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why, by REST and by gRPC."""

    reason: str
    """For the metrics."""
    status: int
    """Of HTTP."""
    code: str
    """Of gRPC."""
    retry_seconds: int | None = None
    """When to come again; None where the same request would be refused again."""

    @property
    def headers(self) -> dict[str, str] | None:
        """What HTTP says of that."""
        return None if self.retry_seconds is None else {"Retry-After": str(self.retry_seconds)}


def refusal_of(error: Exception, *, is_named: bool) -> Refusal:
    """Return how an error is told; `is_named` where the caller asked for one version."""
    if isinstance(error, BadRequest):
        return Refusal(reason="wrong", status=400, code="INVALID_ARGUMENT")
    if isinstance(error, NotServed) and is_named:
        return Refusal(reason="not served", status=404, code="NOT_FOUND")
    if isinstance(error, NotServed):
        return Refusal(reason="not served", status=503, code="UNAVAILABLE", retry_seconds=1)
    if isinstance(error, QueueFull):
        return Refusal(reason="no room", status=429, code="RESOURCE_EXHAUSTED", retry_seconds=error.retry_seconds)
    if isinstance(error, Overloaded):
        return Refusal(reason="too late", status=503, code="DEADLINE_EXCEEDED", retry_seconds=error.retry_seconds)
    return Refusal(reason="failed", status=500, code="INTERNAL")
