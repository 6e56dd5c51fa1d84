"""MLflow and Weights & Biases. Either is imported only where its connection is set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from operators.core.training.tracking import (
    Feed,
    MlflowSettings,
    Row,
    TrackedRun,
    Tracker,
    TrackingSettings,
    WandbSettings,
)

RUN_KEY_TAG = "nightshift.run_key"
MOST_METRICS = 1000
"""That MLflow takes at once."""


def open_feeds(settings: TrackingSettings, run: TrackedRun) -> list[Feed]:
    """Return a feed of each tracker that there is; none is waited for."""
    feeds = []
    if (mlflow := settings.mlflow) is not None:
        feeds.append(Feed("MLflow", lambda: MlflowTracker(mlflow, run)))
    if (wandb := settings.wandb) is not None:
        feeds.append(Feed("Weights & Biases", lambda: WandbTracker(wandb, run)))
    return feeds


class MlflowTracker(Tracker):
    """A run of an MLflow experiment, found again by its run key."""

    def __init__(self, settings: MlflowSettings, run: TrackedRun) -> None:
        # A server that is away is given up before the training ends, not after an hour of retries.
        secret = "PASSWORD" if settings.username else "TOKEN"
        _set_environment(
            MLFLOW_HTTP_REQUEST_MAX_RETRIES="2",
            MLFLOW_HTTP_REQUEST_TIMEOUT="15",
            MLFLOW_TRACKING_USERNAME=settings.username,
            **{f"MLFLOW_TRACKING_{secret}": settings.password},
        )
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient(tracking_uri=settings.uri)
        experiment = self._client.get_experiment_by_name(settings.experiment)
        place = experiment.experiment_id if experiment else self._client.create_experiment(settings.experiment)
        found = self._client.search_runs([place], f"tags.`{RUN_KEY_TAG}` = '{run.run_key}'", max_results=1)
        if found:
            self._run_id = found[0].info.run_id
            self._client.update_run(self._run_id, status="RUNNING")
            return
        self._run_id = self._client.create_run(place, run_name=run.name).info.run_id
        self._client.log_batch(
            self._run_id,
            params=[Param(name, str(value)) for name, value in run.values.items()],
            tags=[RunTag(RUN_KEY_TAG, run.run_key)],
        )

    def send(self, rows: Sequence[Row]) -> None:
        """Log each scalar of each step."""
        from mlflow.entities import Metric

        metrics = [
            Metric(name, value, int(row.at * 1000), row.step) for row in rows for name, value in row.scalars.items()
        ]
        for start in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._run_id, metrics=metrics[start : start + MOST_METRICS])

    def close(self, *, is_done: bool) -> None:
        """Mark the run as finished, or as killed where a later gang has to go on."""
        self._client.set_terminated(self._run_id, "FINISHED" if is_done else "KILLED")


class WandbTracker(Tracker):
    """A run of a W&B project, whose id follows from the run key."""

    def __init__(self, settings: WandbSettings, run: TrackedRun) -> None:
        _set_environment(WANDB_API_KEY=settings.key, WANDB_BASE_URL=settings.url)
        import wandb

        self._run: Any = wandb.init(
            project=settings.project,
            id=run.run_key[:32],
            name=run.name,
            config=dict(run.values),
            dir=settings.folder,
            mode=settings.mode,
            # An offline run cannot ask whether it is there: `wandb sync` puts the pieces of one id together.
            resume="allow" if settings.mode == "online" else None,
            # No code, no output and no machine's figures: what the training tells, and nothing else.
            settings=wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True),
        )

    def send(self, rows: Sequence[Row]) -> None:
        """Log the scalars of each step."""
        for row in rows:
            self._run.log(dict(row.scalars), step=row.step)

    def close(self, *, is_done: bool) -> None:
        """Mark the run as finished, or as failed where a later gang has to go on."""
        self._run.finish(exit_code=0 if is_done else 1)


def _set_environment(**values: str | None) -> None:
    os.environ.update({name: value for name, value in values.items() if value is not None})
