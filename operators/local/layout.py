"""Where the one-machine platform keeps its state: one folder, `NIGHTSHIFT_HOME`, and nothing outside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "NIGHTSHIFT_HOME"
REPOSITORY = Path(__file__).resolve().parents[2]
"""The checkout: the platform serves the DAGs that lie beside this package."""

DEMO = "dr-demo"
"""Folder, in a platform's own, of the platform that `make dr-demo` makes."""
LONGEST_HOME = 70
"""Characters; a Unix socket's path ends at 107 and the longest, multiprocessing's below `tmp/`, has 36 after this."""


class PlatformError(RuntimeError):
    """The platform cannot start or go on; the message says what is wrong and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The folders and files of one platform."""

    home: Path
    """Absolute."""

    def __post_init__(self) -> None:
        if len(str(self.home)) > LONGEST_HOME:
            raise PlatformError(
                f"the folder for state {self.home} has {len(str(self.home))} characters; Unix sockets allow "
                f"{LONGEST_HOME} here. Set {HOME_VARIABLE} to a shorter path."
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Layout:
        """Return the layout under `NIGHTSHIFT_HOME`, by default `var/` of the checkout."""
        return cls(home=Path(environment.get(HOME_VARIABLE) or REPOSITORY / "var").absolute())

    @property
    def run(self) -> Path:
        """Process ids, sockets and rendered configuration."""
        return self.home / "run"

    @property
    def log(self) -> Path:
        """A file a service, and Airflow's task logs under `tasks/`."""
        return self.home / "log"

    @property
    def secrets(self) -> Path:
        """Mode 0700: generated passwords and keys."""
        return self.home / "secrets"

    @property
    def logins(self) -> Path:
        """Who may log in to Airflow beside the platform's own administrator."""
        return self.secrets / "logins.json"

    @property
    def passwords(self) -> Path:
        """What Airflow reads the passwords of all logins from."""
        return self.secrets / "airflow-users.json"

    @property
    def recovery_keys(self) -> Path:
        """Public halves of the recovery keys, a file each."""
        return self.secrets / "recovery"

    @property
    def drill_kit(self) -> Path:
        """The recovery kit that the drill has."""
        return self.secrets / "drill-kit.json"

    @property
    def restoring(self) -> Path:
        """There while a restore has begun and not ended: the platform does not start."""
        return self.run / "restoring"

    @property
    def restored(self) -> Path:
        """When the restore began that has ended, in seconds since 1970; there until the platform is up after it."""
        return self.run / "restored"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.home / "airflow"

    @property
    def airflow_environment(self) -> Path:
        """A shell file: `set -a; . FILE` makes the plain `airflow` command work."""
        return self.airflow / "airflow.env"

    @property
    def airflow_database(self) -> Path:
        """Airflow's SQLite file."""
        return self.airflow / "airflow.db"

    @property
    def landing(self) -> Path:
        """Raw input: `mail/dt=YYYY-MM-DD/*.jsonl.zst`."""
        return self.home / "landing"

    @property
    def models(self) -> Path:
        """Base models as fetched, a folder each."""
        return self.home / "models"

    @property
    def downloads(self) -> Path:
        """Packages that inputs come from, kept for the next time."""
        return self.home / "downloads"

    @property
    def endpoints(self) -> Path:
        """Data of the object stores, a folder each."""
        return self.home / "endpoints"

    @property
    def cache(self) -> Path:
        """What tasks and servers read from the store lately, as it is stored."""
        return self.home / "cache"

    @property
    def servers(self) -> Path:
        """Model servers' local copies of releases, a folder each."""
        return self.home / "servers"

    @property
    def scratch(self) -> Path:
        """Work area of tasks; nothing in it outlives a try."""
        return self.home / "scratch"

    @property
    def temporary(self) -> Path:
        """TMPDIR of every service and task: what they leave there goes with the platform's end."""
        return self.home / "tmp"

    @property
    def data_docs(self) -> Path:
        """Great Expectations' pages."""
        return self.home / "data_docs"

    @property
    def demo(self) -> Layout:
        """Where the platform of `make dr-demo` lies."""
        return Layout(home=self.home / DEMO)

    @property
    def summary(self) -> Path:
        """What the last `make run` came to."""
        return self.home / "summary.json"

    @property
    def availability(self) -> Path:
        """How often predictions could be had, by day."""
        return self.home / "availability.json"

    @property
    def evaluation(self) -> Path:
        """The page of its evaluation."""
        return self.home / "evaluation.html"

    @property
    def compression(self) -> Path:
        """The page of its candidates."""
        return self.home / "compression.html"

    def make(self) -> None:
        """Make every folder; those with secrets for this user only."""
        os.makedirs(self.home, exist_ok=True)
        for folder in (self.run, self.secrets, self.airflow):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        for folder in (
            self.log / "tasks", self.landing, self.models, self.downloads, self.endpoints, self.servers,
            self.scratch, self.data_docs, self.airflow / "plugins",
        ):  # fmt: skip
            os.makedirs(folder, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file whole, readable by this user only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(temporary, path)
