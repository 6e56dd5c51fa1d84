"""Trackers that a training's figures go to beside its event files. None of them can hold a training up, or stop it."""

from __future__ import annotations

import importlib.util
import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, NamedTuple, Protocol

TRACKING_VARIABLE = "NIGHTSHIFT_TRACKING"
"""Environment variable that carries `TrackingSettings.to_json()` to training processes."""
SEND_SECONDS = 5.0
"""Between two deliveries."""
CLOSE_SECONDS = 20.0
"""The most that the end of a training waits for what a tracker has not taken yet."""
MOST_ROWS = 100_000
"""Steps kept for a tracker that does not answer; of more, the oldest go."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class MlflowSettings:
    """An MLflow tracking server, or a store of files or SQLite."""

    uri: str
    """`https://mlflow.example.org`, `sqlite:////folder/mlflow.db`."""
    experiment: str = "nightshift"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    """With a user name its password; without one a token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WandbSettings:
    """A project of Weights & Biases."""

    project: str = "nightshift"
    mode: Literal["online", "offline"] = "online"
    """`offline`: runs are kept in the folder, for `wandb sync`."""
    folder: str | None = None
    """Absolute; where runs lie. None, which offline runs may not have: a temporary one."""
    url: str | None = None
    """Of a server of one's own."""
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.mode not in ("online", "offline"):
            raise ValueError(f"W&B mode {self.mode!r}: choose online or offline")
        if self.mode == "offline" and not self.folder:
            raise ValueError("W&B offline: name the folder that runs are kept in")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackingSettings:
    """The trackers that there are."""

    mlflow: MlflowSettings | None = None
    wandb: WandbSettings | None = None

    def check_installed(self) -> None:
        """Return if what speaks to each tracker is installed.

        Raises:
            ValueError: It is not; the message says what to install.
        """
        for name in ("mlflow", "wandb"):
            if getattr(self, name) is not None and importlib.util.find_spec(name) is None:
                raise ValueError(
                    f"the connection nightshift_{name} is set, but {name} is not installed: install "
                    "nightshift[tracking] for every worker, or delete the connection"
                )

    def to_json(self) -> str:
        """Return the settings with their secrets, for a child's environment."""
        return json.dumps(asdict(self))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> TrackingSettings:
        """Read the settings that a parent process handed down; without any there is no tracker."""
        document = json.loads(environment.get(TRACKING_VARIABLE) or "{}")
        mlflow, wandb = document.get("mlflow"), document.get("wandb")
        return cls(mlflow=MlflowSettings(**mlflow) if mlflow else None, wandb=WandbSettings(**wandb) if wandb else None)


class TrackedRun(NamedTuple):
    """What a tracker is told of a training at its begin."""

    name: str
    """For people."""
    run_key: str
    """By which a later gang of the training, or a later try, goes on with the same run."""
    values: Mapping[str, str | int | float]
    """Its spec, and what it trains on."""


class Row(NamedTuple):
    """What was seen in a step."""

    step: int
    at: float
    """Seconds since 1970."""
    scalars: Mapping[str, float]


class Tracker(Protocol):
    """Whatever keeps figures of runs; it may fail in any way."""

    def send(self, rows: Sequence[Row]) -> None:
        """Hand over steps in their order."""

    def close(self, *, is_done: bool) -> None:
        """Say that the gang has ended, and whether the training has."""


class Feed:
    """Gives a tracker what is seen, from a thread of its own. What goes wrong there is said once, and no more is given.

    Args:
        name: The tracker's.
        open_tracker: Opens it; called in the thread.
    """

    def __init__(self, name: str, open_tracker: Callable[[], Tracker]) -> None:
        self._name, self._open = name, open_tracker
        self._rows: deque[Row] = deque(maxlen=MOST_ROWS)
        self._ended = threading.Event()
        self._is_done = False
        self._thread = threading.Thread(target=self._run, name=f"track-{name}", daemon=True)
        self._thread.start()

    def add(self, row: Row) -> None:
        """Have a step given to the tracker, some time."""
        self._rows.append(row)

    def close(self, *, is_done: bool) -> None:
        """Give it what is left, unless that takes too long."""
        self._is_done = is_done
        self._ended.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            log.warning("%s did not take all figures within %g s: the training ends without", self._name, CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            tracker = self._open()
            while not self._ended.wait(SEND_SECONDS):
                self._send(tracker)
            self._send(tracker)
            tracker.close(is_done=self._is_done)
        except BaseException as error:  # a library of somebody else's: no error of it is worth a training
            log.warning("%s takes no more figures of this training: %s: %s", self._name, type(error).__name__, error)
            self._rows = deque(maxlen=0)

    def _send(self, tracker: Tracker) -> None:
        rows = [self._rows.popleft() for _ in range(len(self._rows))]
        if rows:
            tracker.send(rows)
