"""How a release goes live: the steps of its share, what it is granted, and what makes it come back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentSpec:
    """Steps, samples and tolerances of one deployment."""

    shares: tuple[float, ...] = (0.1, 0.5, 1.0)
    """Share of the requests that the candidate answers, step by step; the last is 1."""
    min_sample: int = 150
    """Answers of the candidate without which no step passes; our own requests count where nobody calls."""
    watch_seconds: float = 2.0
    """Least time of a step, in seconds."""
    step_seconds: float = 120.0
    """Longest time of a step, in seconds: what has come to no verdict by then has failed."""
    golden_rows: int = 100
    """Distinct test rows, those the evaluation was surest of, whose predicted label the servers must give."""
    tolerated_errors: float = 0.02
    """By how much the part of the candidate's requests that fail may exceed the live version's, above 0 and below 1."""
    max_slowdown: float = 1.5
    """How many times slower than the live version the candidate may be, at least 1."""
    max_shift: float = 0.2
    """How far the candidate's labels may be distributed from the live version's, in total variation, 0 to 1."""
    max_p99_seconds: float = 2.0
    """Largest 99th percentile of the candidate's answering time, in seconds, whatever the live version's is."""
    server_timeout_seconds: float = 60.0
    """How long a server may be away before the deployment gives up and rolls back; a supervisor needs seconds."""
    shadow_sample: int = 0
    """Copies of callers' requests that the candidate answers before anybody is given an answer of its; 0: none."""
    rehearses_rollback: bool = False
    """Whether a twin that answers wrongly on purpose goes first to the first share, and must be thrown out."""
    needs_approval: bool = False
    """Whether a person must approve the release, in the Airflow UI, before it begins."""
    approvers: tuple[str, ...] = ()
    """Logins of those who may; of nobody else then, whatever their role. Empty: everybody who may start runs."""

    def __post_init__(self) -> None:
        if not self.shares or list(self.shares) != sorted(set(self.shares)) or self.shares[0] <= 0:
            raise ValueError(f"shares={self.shares}: they must rise from above 0 to 1.0")
        if self.shares[-1] != 1.0:
            raise ValueError(
                f"shares={self.shares}: the last step must be 1.0, a release takes all requests in the end"
            )
        if not 0 <= self.watch_seconds <= self.step_seconds <= 86400:
            raise ValueError(
                f"watch_seconds={self.watch_seconds}, step_seconds={self.step_seconds}: from 0 up to 86400, the "
                "longest time no shorter than the least"
            )
        if self.rehearses_rollback and self.shares[0] == 1.0:
            raise ValueError(
                f"shares={self.shares}: a rehearsal needs a first step below 1, for the twin to be held to"
            )
        if self.approvers and not self.needs_approval:
            raise ValueError(f"approvers={self.approvers}: nobody is asked unless needs_approval is true")
        self._check_ranges()

    def _check_ranges(self) -> None:
        for name, least in (("min_sample", 1), ("golden_rows", 1), ("shadow_sample", 0), ("max_slowdown", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: at least {least}")
        for name in ("tolerated_errors", "max_shift"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: above 0 and below 1")
        for name in ("max_p99_seconds", "server_timeout_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)}: must be above 0")
