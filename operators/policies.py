"""What all tasks share: retries by kind of error, time-outs, pools."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, ExceptionRetryPolicy, RetryAction, RetryRule

from operators.core import errors
from operators.core.recipe import Recipe
from operators.notify import notify_failure

ACCELERATORS_POOL = "accelerators"
"""One slot per machine that trains: two trainings at once would share its devices."""

_NEVER_RETRY = (
    ValueError,
    errors.DataError,
    errors.AllCopiesDamaged,
    errors.KeyMissing,
    errors.CollectionRefused,
    errors.LossDiverged,
    errors.GateFailed,
    errors.DrillFailed,
    errors.HealthCheckFailed,
)

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[
                *(f"{error.__module__}.{error.__qualname__}" for error in _NEVER_RETRY),
                "airflow.providers.standard.exceptions.HITLTimeoutError",
            ],
            action=RetryAction.FAIL,
            reason="the same input will fail again",
        )
    ]
)

NIGHTLY = CronDataIntervalTimetable("0 0 * * *", timezone="UTC")
"""A run a night, for the day that has just ended."""

TRAINING: dict[str, Any] = {"pool": ACCELERATORS_POOL, "execution_timeout": timedelta(hours=12)}
"""What a training is given beside the defaults. A training cut off by its time-out goes on at the next try."""

STARTS_OVER: dict[str, Any] = {"execution_timeout": timedelta(hours=6)}
"""What a long stage without checkpoints is given: cut off by its time-out, it would only begin again. On a busy machine
with two cores comparing the candidates took 40 minutes, against 4 on an idle one."""

ONE_AT_A_TIME: dict[str, Any] = {
    "start_date": datetime(2000, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    "dagrun_timeout": timedelta(hours=23),
}
"""The start lies early, so that old days can be backfilled."""


def retraining(recipe: Recipe, notes: str) -> dict[str, Any]:
    """Return what the DAG of a recipe is made with, given notes on all such DAGs."""
    return {
        "dag_id": f"retrain_{recipe.name}",
        "dag_display_name": recipe.title,
        "description": recipe.description,
        "default_args": default_args(recipe.owner),
        "doc_md": f"{recipe.description}\n\n{notes}",
        "tags": ["nightshift", "retraining"],
        **ONE_AT_A_TIME,
    }


def maintenance(notes: str) -> dict[str, Any]:
    """Return what every DAG of the platform's upkeep is made with, given its notes."""
    return {
        "default_args": default_args("platform") | {"execution_timeout": timedelta(hours=6)},
        "doc_md": notes,
        "tags": ["nightshift", "maintenance"],
        # Whoever triggers one wants it at once; the scheduled ones keep the store sound from the first night on.
        "is_paused_upon_creation": False,
        **ONE_AT_A_TIME,
    }


def default_args(owner: str) -> dict[str, Any]:
    """Return what every task of a DAG starts from.

    A retry is cheap, since what was computed is found: transient failures may be met with many.
    """
    return {
        "owner": owner,
        "retries": 5,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=2),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=30),
        "on_failure_callback": notify_failure,
    }
