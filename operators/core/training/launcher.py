"""Start a training job's processes, find them again after this task was killed, wait for them, end them.

The launcher runs in a session of its own, so it outlives a task that is killed; the task's retry finds it by the lock
in the job's folder and waits for it instead of training a second time.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

import operators
from operators.core import errors
from operators.core.errors import NightshiftError, WorkerLost
from operators.core.progress import Progress
from operators.core.settings import STORAGE_VARIABLE, StorageSettings
from operators.core.training import job as names
from operators.core.training.job import TrainingJob, read_record
from operators.core.training.launch import try_lock
from operators.core.training.tracking import TRACKING_VARIABLE, TrackingSettings

POLL_SECONDS = 0.25
GRACE_SECONDS = 40.0
"""Between asking the processes to end and ending them, for a step and its checkpoint; Airflow gives a task 60."""
LOG_TAIL_BYTES = 2000

log = logging.getLogger(__name__)
_waited_for: dict[Path, int] = {}
"""Folders of the jobs that this process waits for, each with the parent that it had when the wait began."""


def is_running(folder: Path) -> bool:
    """Return whether a launcher is at work on the folder's job."""
    path = folder / names.LOCK
    if not path.exists():
        return False
    with path.open("r") as lock:
        return not try_lock(lock.fileno())


def ensure_running(
    folder: Path, settings: StorageSettings, tracking: TrackingSettings | None = None
) -> subprocess.Popen[bytes] | None:
    """Have the folder's job trained by exactly one launcher: the one at work, else a new one, which is returned."""
    if is_running(folder):
        log.info("found this job in training already, by %s: waiting for it", read_record(folder / names.LAUNCHER))
        return None
    (folder / names.FAILED).unlink(missing_ok=True)
    job = TrainingJob.load(folder)
    with (folder / names.LOG).open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "operators.core.training.launch", str(folder)],
            env=_environment(job.loop.threads_per_rank, settings) | _tracking(tracking),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    while child.poll() is None and (read_record(folder / names.LAUNCHER) or {}).get("pid") != child.pid:
        time.sleep(0.05)
    return child


def _environment(threads: int, settings: StorageSettings) -> dict[str, str]:
    root = str(Path(operators.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return os.environ | {
        "PYTHONPATH": path,
        STORAGE_VARIABLE: settings.to_json(),
        "OMP_NUM_THREADS": str(threads),
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        # cuBLAS gives the same bits again only with a fixed workspace.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _tracking(settings: TrackingSettings | None) -> dict[str, str]:
    return {TRACKING_VARIABLE: settings.to_json()} if settings else {}


def wait(folder: Path, child: subprocess.Popen[bytes] | None, progress: Progress) -> None:
    """Wait for the folder's job and forward its progress; whatever interrupts the wait ends the training too.

    Not so where the parent of this process has gone: a task whose supervisor was killed lives on until it next writes
    to its log, and must not take with it what its retry will go on with, or goes on with already.

    Raises:
        LossDiverged: The loss was no longer finite, or had run away.
        Superseded: Another trainer of the run key went on.
        DataError: An input did not fit.
        WorkerLost: The processes died more often than they are started again; the log's end is in the message.
    """
    seen: object = None
    _waited_for[folder] = os.getppid()
    try:
        while (child is not None and child.poll() is None) or is_running(folder):
            record = read_record(folder / names.PROGRESS)
            if record is not None and record != seen:
                seen = record
                note = f"loss {record['loss']:.3f}, {record['speed']:.0f} examples/s"
                progress(record["step"], record["total"], note)
            time.sleep(POLL_SECONDS)
    except BaseException:
        end_waited_for()
        if child is not None:
            child.poll()
        raise
    finally:
        del _waited_for[folder]
    if read_record(folder / names.DONE) is not None:
        return
    if (failed := read_record(folder / names.FAILED)) is not None:
        kind = getattr(errors, failed["error"], WorkerLost)
        error: NightshiftError = kind(failed["message"])
        raise error
    raise WorkerLost(f"training ended without a result; the end of its log:\n{_log_tail(folder)}")


def terminate(folder: Path) -> None:
    """End the launcher of the folder's job and its ranks, their state saved; return when none is left."""
    record = read_record(folder / names.LAUNCHER)
    if record is None or not is_running(folder):
        return
    try:
        process = psutil.Process(record["pid"])
        if process.create_time() != record["created"]:
            return
        gang = [process, *process.children(recursive=True)]
        process.terminate()  # the launcher alone: it has the ranks save what they have done
        deadline = time.monotonic() + GRACE_SECONDS
        while is_running(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        if is_running(folder):
            os.killpg(process.pid, signal.SIGKILL)
        # A killed launcher takes its ranks with it (see `die_with_parent`); wait until the kernel has done so.
        _, alive = psutil.wait_procs(gang, timeout=GRACE_SECONDS)
        for one in alive:
            one.kill()
    except (psutil.NoSuchProcess, ProcessLookupError):
        return


def end_waited_for() -> None:
    """End the trainings that this process waits for, unless it is an orphan."""
    for folder, parent in list(_waited_for.items()):
        if os.getppid() == parent:
            terminate(folder)


def end_all(scratch: Path) -> None:
    """End every training that a scratch folder knows of: for the end of a platform whose tasks were killed."""
    for record in scratch.glob(f"training/*/{names.LAUNCHER}"):
        terminate(record.parent)


def _log_tail(folder: Path) -> str:
    try:
        return (folder / names.LOG).read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
    except FileNotFoundError:
        return "(no log)"
