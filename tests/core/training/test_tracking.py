"""Trackers are given every step of a training, and whatever becomes of them the training goes on."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from operators.core.training import tracking
from operators.core.training.tracking import (
    TRACKING_VARIABLE,
    Feed,
    MlflowSettings,
    Row,
    TrackedRun,
    TrackingSettings,
    WandbSettings,
)

RUN = TrackedRun("mail-2002-09-26-0a1b2c3d", "0a1b2c3d" * 8, {"recipe": "mail", "batch_size": 32})
ROWS = [Row(step, 1e9 + step, {"loss": 1 / step, "rate": 1e-3}) for step in range(1, 2001)]


class Kept:
    """A tracker that keeps what it is given, until it fails or falls silent."""

    def __init__(self, fails_at: int | None = None, hangs: bool = False) -> None:
        self.rows: list[Row] = []
        self.is_done: bool | None = None
        self._fails_at = fails_at
        self.free = threading.Event()
        if not hangs:
            self.free.set()

    def send(self, rows: Sequence[Row]) -> None:
        """Keep the rows."""
        self.free.wait()
        if self._fails_at is not None:
            raise ConnectionError("the tracker is away")
        self.rows += rows

    def close(self, *, is_done: bool) -> None:
        """Keep how it ended."""
        self.is_done = is_done


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "SEND_SECONDS", 0.01)
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 5.0)


def test_a_tracker_is_given_every_step_once_and_in_order() -> None:
    """While they come, and what is left when the training ends."""
    kept = Kept()
    feed = Feed("kept", lambda: kept)
    for row in ROWS:
        feed.add(row)
    feed.close(is_done=True)

    assert (kept.rows, kept.is_done) == (ROWS, True)


def test_what_goes_wrong_in_a_tracker_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whether it cannot be opened or breaks later: no step raises anything."""

    def refused() -> Kept:
        raise ImportError("no such library")

    with caplog.at_level(logging.WARNING):
        for open_tracker in (refused, lambda: Kept(fails_at=0)):
            feed = Feed("kept", open_tracker)
            for row in ROWS:
                feed.add(row)
            feed.close(is_done=True)
    told = [record.getMessage() for record in caplog.records]

    assert [line.split(": ", 1)[1] for line in told] == [
        "ImportError: no such library",
        "ConnectionError: the tracker is away",
    ]


def test_a_tracker_that_does_not_answer_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of the training waits a little, says so, and goes on; what is kept for it is bounded."""
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 0.05)
    kept = Kept(hangs=True)
    feed = Feed("kept", lambda: kept)
    for row in ROWS:
        feed.add(row)
    with caplog.at_level(logging.WARNING):
        feed.close(is_done=True)
    kept.free.set()

    assert "did not take all figures" in caplog.text


def test_settings_reach_a_child_and_show_no_secret() -> None:
    """By environment, where nothing stands that is not set; no repr has a key."""
    settings = TrackingSettings(
        mlflow=MlflowSettings(uri="https://mlflow.example.org", password="secret-1"),
        wandb=WandbSettings(mode="offline", folder="/runs", key="secret-2"),
    )

    assert TrackingSettings.from_environment({TRACKING_VARIABLE: settings.to_json()}) == settings
    assert TrackingSettings.from_environment({}) == TrackingSettings()
    assert "secret" not in repr(settings)
    with pytest.raises(ValueError, match="folder"):
        WandbSettings(mode="offline")


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_whose_library_is_missing_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install; one that is not set needs none."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    settings = {"mlflow": MlflowSettings(uri="sqlite:///x"), "wandb": WandbSettings()}

    TrackingSettings().check_installed()
    with pytest.raises(ValueError, match=rf"nightshift_{name} is set, but .* install nightshift\[tracking\]"):
        TrackingSettings(**{name: settings[name]}).check_installed()


@pytest.mark.filterwarnings("default")
def test_mlflow_has_one_run_of_a_training_with_its_figures(tmp_path: Path) -> None:
    """Two gangs of it go on with the same run, which is found by its run key; its spec and every step's figures."""
    pytest.importorskip("mlflow", reason="needs nightshift[tracking]")
    from mlflow.tracking import MlflowClient

    from operators.core.training.trackers import open_feeds

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    seen = []
    for rows, is_done in ((ROWS[:1500], False), (ROWS[1400:], True)):
        (feed,) = open_feeds(TrackingSettings(mlflow=MlflowSettings(uri=uri)), RUN)
        for row in rows:
            feed.add(row)
        feed._thread.join(0)
        while not feed._ended.wait(0.1) and feed._rows:
            pass
        tracking.CLOSE_SECONDS = 60.0
        feed.close(is_done=is_done)
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("nightshift")
        (run,) = client.search_runs([experiment.experiment_id])
        seen.append(run.info.status)

    losses = {one.step: one.value for one in client.get_metric_history(run.info.run_id, "loss")}
    assert seen == ["KILLED", "FINISHED"]
    assert (run.info.run_name, run.data.params) == (RUN.name, {"recipe": "mail", "batch_size": "32"})
    assert losses == {row.step: row.scalars["loss"] for row in ROWS}


@pytest.mark.filterwarnings("default")
def test_weights_and_biases_keeps_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder that the connection names, without a network and a key; `wandb sync` would find it there."""
    pytest.importorskip("wandb", reason="needs nightshift[tracking]")
    from operators.core.training.trackers import open_feeds

    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 60.0)
    (feed,) = open_feeds(TrackingSettings(wandb=WandbSettings(mode="offline", folder=str(tmp_path))), RUN)
    for row in ROWS[:50]:
        feed.add(row)
    feed.close(is_done=True)
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    content = file.read_bytes()

    assert RUN.run_key[:32] in file.name
    assert content.count(b"loss") >= 50
