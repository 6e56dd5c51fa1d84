"""The launcher process: holds the job folder's lock for as long as it lives, and runs torchrun's agent over the ranks.

    python -m operators.core.training.launch FOLDER

The lock is what says "this job is being trained here": the kernel frees it however the process ends, no process id can
be reused into it, and a second launcher of the job ends itself. SIGTERM asks it to end: the ranks save what they have
trained and leave.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from operators.core.training import job as names
from operators.core.training import worker
from operators.core.training.job import TrainingJob, write_record

if TYPE_CHECKING:
    from torch.distributed.launcher.api import LaunchConfig

MAX_RESTARTS = 3
"""Times the gang is started again after a rank died, before the task's own retry has to."""
LOCK_SECONDS = 5.0
"""How long to try: someone who only asks whether the lock is held holds it for a moment."""


def agent_config(folder: Path, ranks: int) -> LaunchConfig:
    """Return what the agent needs to know for one machine, with nothing that listens beyond loopback.

    The agent meets nobody; the ranks meet through a file (see `worker`), and gloo is bound to `lo` by environment. What
    remains is NCCL's bootstrap socket on GPU machines, which NCCL_SOCKET_IFNAME=lo binds to loopback too.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    from operators.core.training import rendezvous

    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=ranks,
        max_restarts=MAX_RESTARTS,
        monitor_interval=0.2,
        rdzv_backend=rendezvous.register(),
        run_id=f"job-{os.getpid()}",
        local_addr="127.0.0.1",
        start_method="fork",
        # Where a rank leaves its traceback; by default a folder of the machine's own that nobody removes.
        logs_specs=DefaultLogsSpecs(log_dir=str(folder / "agent")),
        # Without SIGTERM, at which the agent would end the ranks before they have saved anything.
        signals_to_handle="SIGINT,SIGHUP,SIGQUIT",
    )


def main(folder: Path) -> None:
    """Train the folder's job to its end; exit 3 when another launcher is at it."""
    lock = (folder / names.LOCK).open("w")
    deadline = time.monotonic() + LOCK_SECONDS
    while not try_lock(lock.fileno()):
        if time.monotonic() > deadline:
            raise SystemExit(3)
        time.sleep(0.05)
    me = psutil.Process()
    record = {"pid": me.pid, "created": me.create_time(), "host": socket.gethostname()}
    write_record(folder / names.LAUNCHER, record)
    shutil.rmtree(folder / names.RENDEZVOUS, ignore_errors=True)
    (folder / names.RENDEZVOUS).mkdir()
    (folder / names.END).unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: write_record(folder / names.END, {"asked": time.time()}))
    _run(folder, TrainingJob.load(folder))


def _run(folder: Path, job: TrainingJob) -> None:
    """Have the ranks train, started again as often as they may be.

    On a CPU they are forks of this process, which has loaded what they need: a start costs them nothing of the ten
    seconds that torch and transformers take each. CUDA's driver survives no fork; there they are programs.
    """
    from torch.distributed.launcher.api import elastic_launch

    if job.loop.device == "cpu":
        worker.load_libraries(job.loop.task)
        elastic_launch(agent_config(folder, job.ranks), worker.main)(folder)
    else:
        elastic_launch(agent_config(folder, job.ranks), sys.executable)("-m", worker.__name__, str(folder))


def try_lock(descriptor: int) -> bool:
    """Take the lock and return True, or return False because someone holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
