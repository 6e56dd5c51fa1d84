"""What one server takes before it says no: sizes, waiting, time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds of one server. What goes beyond one is refused at once, and costs those inside nothing."""

    parallel: int | None = None
    """Batches computed beside each other, on a thread each; None: as many as the process has cores, at most 4."""
    batch_texts: int = 64
    """Texts of waiting requests that are computed together, or fewer where they take long; a request with more is a
    batch of its own."""
    queue_texts: int = 256
    """Texts that may wait."""
    request_texts: int = 64
    """Texts of one request."""
    body_bytes: int = 1 << 20
    """Size of a request."""
    body_seconds: float = 5.0
    """How long a caller may take to send a request."""
    request_seconds: float = 5.0
    """How long a request may wait and be computed; a caller may ask for less."""
    connections: int = 2048
    """Open connections and requests under way."""
    unready_seconds: float = 1.2
    """From not being ready any more to taking no more connections: two health checks of the balancer."""
    drain_seconds: float = 6.0
    """For what is under way then: longer than a request may take."""

    def __post_init__(self) -> None:
        if self.parallel is not None and self.parallel < 1:
            raise ValueError(f"parallel={self.parallel}: at least 1, or null for the number of cores")
        for name in ("batch_texts", "request_texts", "body_bytes", "connections"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: at least 1")
        if self.queue_texts < self.request_texts:
            raise ValueError(
                f"queue_texts={self.queue_texts}: at least request_texts={self.request_texts}, or no large request fits"
            )
        for name in ("body_seconds", "request_seconds"):
            if not 0 < getattr(self, name) <= 600:
                raise ValueError(f"{name}={getattr(self, name)}: above 0, at most 600 seconds")
        if self.unready_seconds < 0 or self.drain_seconds < 0:
            raise ValueError(f"unready_seconds={self.unready_seconds}, drain_seconds={self.drain_seconds}: at least 0")
