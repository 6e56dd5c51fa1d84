"""A platform of its own for a test: free ports, a home of its own, a slice of the corpus, the real scheduler."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from operators.core.settings import StorageSettings
from operators.core.storage import Store, open_store
from operators.core.training import job
from operators.core.training.job import TrainingJob, read_record
from operators.local import inputs, ports, seaweedfs, stop, supervisor
from operators.local.credentials import load_credentials
from operators.local.layout import HOME_VARIABLE, REPOSITORY, Layout, PlatformError
from operators.local.rest import AirflowRest

DAY = "2002-09-26"
DAYS = ["2002-09-22", "2002-09-23", "2002-09-24", "2002-09-25", DAY]
MAILS_A_DAY = 60
DAG_ID = "retrain_mail_triage"
PARAMS = {"window_days": len(DAYS), "quality_floor": 0.5, "max_length": 64}
"""A few hundred mails prove the way, not the quality: that is the whole corpus's part."""

RUN_SECONDS = 1800.0


class FaultDidNotFire(AssertionError):
    """A fault that a test scheduled found nothing to hit: the test has shown nothing."""


@dataclass
class Bed:
    """One platform under test."""

    home: Path
    base: int

    @property
    def layout(self) -> Layout:
        """Return where its state lies."""
        return Layout(home=self.home)

    @property
    def supervisor(self) -> supervisor.Supervisor:
        """Return its supervisor."""
        return supervisor.Supervisor(self.layout)

    @functools.cached_property
    def rest(self) -> AirflowRest:
        """Return a client of its Airflow, logged in once: a login takes as long as a short task."""
        placed = ports.load(self.layout, self.environment())  # asked for before the platform has written them down
        return AirflowRest.of(placed, load_credentials(self.layout))

    def environment(self) -> dict[str, str]:
        """Return what a shell would have exported to use it."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT", "AIRFLOW"))}
        return {
            **kept,
            HOME_VARIABLE: str(self.home),
            ports.BASE_VARIABLE: str(self.base),
            inputs.SLICE_VARIABLE: json.dumps({"days": DAYS, "mails_a_day": MAILS_A_DAY}),
        }

    def share_downloads(self) -> None:
        """Use the checkout's packages: they are checked against their digests each time."""
        shared = REPOSITORY / "var" / "downloads"
        shared.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "downloads").symlink_to(shared)

    def start_run(self, *arguments: str, **params: Any) -> subprocess.Popen[str]:
        """Start `make run`'s command; its output goes to a file in the home."""
        listed = [f"--param={name}={value}" for name, value in {**PARAMS, **params}.items()]
        command = [sys.executable, "-m", "operators.local.run", "--day", DAY, *listed, *arguments]
        with (self.home / "run.out").open("w") as output:
            return subprocess.Popen(command, env=self.environment(), stdout=output, stderr=output, text=True)

    def run(self, **params: Any) -> dict[str, Any]:
        """Run the main job to its end and return its summary."""
        return self.finish(self.start_run(**params))

    def finish(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait for a started run to succeed and return its summary."""
        status = process.wait(timeout=RUN_SECONDS)
        assert status == 0, self.output()
        return json.loads(self.layout.summary.read_text())

    def output(self) -> str:
        """Return what the last run printed."""
        return (self.home / "run.out").read_text()

    def store(self) -> Store:
        """Open its store."""
        return open_store(self.stores()[0])

    def stores(self) -> tuple[StorageSettings, StorageSettings]:
        """Return the settings of its store and of its backup store."""
        placed, credentials = ports.load(self.layout), load_credentials(self.layout)
        return seaweedfs.store_settings(self.layout, placed, credentials), seaweedfs.backup_settings(
            placed, credentials
        )

    def wait_for(
        self, what: str, find: Callable[[], Any], process: subprocess.Popen[str], seconds: float = RUN_SECONDS
    ) -> Any:
        """Return the first thing that `find` finds while a run is under way.

        Raises:
            FaultDidNotFire: The run ended, or time ran out, before it was there.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and process.poll() is None:
            if found := find():
                return found
            time.sleep(0.1)
        raise FaultDidNotFire(f"{what} was never seen; the run says:\n{self.output()}")

    def active_runs(self) -> list[dict[str, Any]]:
        """Return the triggered runs that go on now; none while Airflow does not answer.

        The nightly run that a new platform makes for yesterday, and skips, is none of the test's.
        """
        try:
            return [run for run in self.rest.active_runs(DAG_ID) if run["run_type"] == "manual"]
        except (PlatformError, OSError, KeyError):
            return []

    def ranks(self) -> list[psutil.Process]:
        """Return the training processes: forks of a launcher."""
        launchers = [
            process for process in self._processes() if "operators.core.training.launch" in command_of(process)
        ]
        return [process for process in launchers if process.ppid() in {launcher.pid for launcher in launchers}]

    def trained_steps(self) -> int:
        """Return the newest step that the training under way has reported, 0 before it has any."""
        records = [read_record(path) for path in self.layout.scratch.glob(f"training/*/{job.PROGRESS}")]
        return max((record["step"] for record in records if record), default=0)

    def saved_steps(self) -> int:
        """Return the step of the newest checkpoint in the store of the training under way, 0 before there is any."""
        jobs = [path.parent for path in self.layout.scratch.glob(f"training/*/{job.JOB}")]
        if not jobs:
            return 0
        with contextlib.closing(self.store()) as store:
            heads = [store.stream(TrainingJob.load(folder).stream).head() for folder in jobs]
            return max((int(store.manifest(head.manifest).facts["step"]) for head in heads if head), default=0)

    def resumed_at(self) -> int | None:
        """Return the step of the checkpoint that the training under way has gone on from, None where it has not."""
        logs = [path.read_text(errors="replace") for path in self.layout.scratch.glob(f"training/*/{job.LOG}")]
        found = [int(step) for text in logs for step in re.findall(r"resumed at step (\d+) of", text)]
        return found[-1] if found else None

    def wait_for_task(self, task_id: str, process: subprocess.Popen[str]) -> tuple[psutil.Process, psutil.Process]:
        """Return the process that watches over a task and its child that does the work, once both are there.

        Airflow titles both with the task instance's id, which is there before the task runs: a short one is over
        before Airflow is asked again.

        Raises:
            FaultDidNotFire: The run ended, or time ran out, before they were there.
        """
        rest, ids, asked = self.rest, set(), 0.0
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if not ids or time.monotonic() - asked > 1.0:
                ids, asked = _ids(rest, task_id), time.monotonic()
            if pair := watcher_and_worker(ids):
                return pair
            time.sleep(0.02)
        raise FaultDidNotFire(f"the processes of {task_id} were never seen; the run says:\n{self.output()}")

    def has_ended(self, task_id: str) -> bool:
        """Say whether a task of the run that goes on now has succeeded."""
        return any(item["state"] == "success" for item in self._instances(task_id))

    def tried_again(self, task_id: str) -> bool:
        """Say whether a task runs, or has run, for more than the first time."""
        return any(
            item["try_number"] > 1 and item["state"] in ("running", "success") for item in self._instances(task_id)
        )

    def _instances(self, task_id: str) -> list[dict[str, Any]]:
        return [item for run in self.active_runs() for item in self._instances_of(run) if item["task_id"] == task_id]

    def _instances_of(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        return self.rest.task_instances(DAG_ID, run["dag_run_id"])

    def listening(self) -> set[tuple[str, int]]:
        """Return the address and port of everything that its processes listen on."""
        held = [one.laddr for process in self._processes() for one in process.net_connections("inet") if not one.raddr]
        return {(address.ip.removeprefix("::ffff:"), address.port) for address in held}

    def _processes(self) -> list[psutil.Process]:
        return supervisor.marked(self.layout)

    def stop(self) -> None:
        """End it, every process of it."""
        stop.stop(self.layout)


def command_of(process: psutil.Process) -> str:
    """Return a process's command line, empty where it has gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill(process: psutil.Process) -> None:
    """End a process as the kernel's out-of-memory killer would."""
    os.kill(process.pid, signal.SIGKILL)


def _ids(rest: AirflowRest, task_id: str) -> set[str]:
    """Return the ids of a task's instances in the triggered run that goes on; none while Airflow does not answer."""
    try:
        runs = [run["dag_run_id"] for run in rest.active_runs(DAG_ID) if run["run_type"] == "manual"]
        found = [item for run in runs for item in rest.task_instances(DAG_ID, run)]
    except (PlatformError, OSError, KeyError):
        return set()
    return {item["id"] for item in found if item["task_id"] == task_id}


def watcher_and_worker(ids: set[str]) -> tuple[psutil.Process, psutil.Process] | None:
    """Return the process that watches over one of these task instances and its child that does the work."""
    found = {}
    for one in psutil.process_iter(["cmdline", "ppid"]):
        line = " ".join(one.info["cmdline"] or ())
        if any(item in line for item in ids):
            found[one.pid] = one
    return next(((found[one.info["ppid"]], one) for one in found.values() if one.info["ppid"] in found), None)
