"""How a release goes live: the steps of its share, and what makes it come back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentSpec:
    """Steps, watching and limits of one deployment."""

    shares: tuple[float, ...] = (0.1, 0.5, 1.0)
    """Share of the requests that the candidate answers, step by step; the last is 1."""
    watch_seconds: float = 2.0
    """Least time at each step, in seconds: real requests beside the golden ones are counted too."""
    golden_requests: int = 40
    """Requests of our own to each server at each step: a verdict needs a sample even when nobody calls."""
    golden_rows: int = 20
    """Distinct test rows, those the evaluation was surest of, whose predicted label the servers must give."""
    max_error_rate: float = 0.0
    """Part of the candidate's requests that may fail, 0 to 1."""
    max_p99_seconds: float = 2.0
    """Largest 99th percentile of the candidate's answering time, in seconds."""
    server_timeout_seconds: float = 60.0
    """How long a server may be away before the deployment gives up and rolls back; a supervisor needs seconds."""

    def __post_init__(self) -> None:
        if not self.shares or list(self.shares) != sorted(set(self.shares)) or self.shares[0] <= 0:
            raise ValueError(f"shares={self.shares}: they must rise from above 0 to 1.0")
        if self.shares[-1] != 1.0:
            raise ValueError(
                f"shares={self.shares}: the last step must be 1.0, a release takes all requests in the end"
            )
        if not 0 <= self.watch_seconds <= 3600:
            raise ValueError(f"watch_seconds={self.watch_seconds}: 0 to 3600")
        if self.golden_requests < 1 or self.golden_rows < 1:
            raise ValueError(
                f"golden_requests={self.golden_requests}, golden_rows={self.golden_rows}: at least 1 of each"
            )
        if not 0 <= self.max_error_rate < 1:
            raise ValueError(f"max_error_rate={self.max_error_rate}: at least 0 and below 1")
        if self.max_p99_seconds <= 0 or self.server_timeout_seconds <= 0:
            raise ValueError(
                f"max_p99_seconds={self.max_p99_seconds}, server_timeout_seconds={self.server_timeout_seconds}: "
                "must be above 0"
            )
