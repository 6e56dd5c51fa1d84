"""What all tasks share: retries by kind of error, time-outs, pools."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from operators.core import errors

ACCELERATORS_POOL = "accelerators"
"""One slot per machine that trains: two trainings at once would share its devices."""

_NEVER_RETRY = (
    ValueError,
    errors.DataError,
    errors.AllCopiesDamaged,
    errors.LossDiverged,
    errors.GateFailed,
    errors.HealthCheckFailed,
)

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[f"{error.__module__}.{error.__qualname__}" for error in _NEVER_RETRY],
            action=RetryAction.FAIL,
            reason="the same input will fail again",
        )
    ]
)

DEFAULT_ARGS: dict[str, Any] = {
    "retries": 5,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=2),
    "retry_policy": RETRY_POLICY,
    "execution_timeout": timedelta(minutes=30),
}
"""A retry is cheap: what was computed is found, so transient failures may be met with many."""
