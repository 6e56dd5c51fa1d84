"""The launcher process: holds the job folder's lock for as long as it lives, and runs torchrun.

    python -m operators.core.training.launch FOLDER

The lock is what says "this job is being trained here": the kernel frees it however the process ends, no process id can
be reused into it, and a second launcher of the job ends itself.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
import time
from pathlib import Path

import psutil

from operators.core.training import job as names
from operators.core.training import worker
from operators.core.training.job import TrainingJob, write_record

MAX_RESTARTS = 3
"""Times the gang is started again after a rank died, before the task's own retry has to."""
LOCK_SECONDS = 5.0
"""How long to try: someone who only asks whether the lock is held holds it for a moment."""


def torchrun_arguments(folder: Path, ranks: int) -> list[str]:
    """Return torchrun's arguments for one machine, with nothing that listens beyond loopback.

    The rendezvous is a file and so is the ranks' own (see `worker`); gloo is bound to `lo` by environment. What remains
    is NCCL's bootstrap socket on GPU machines, which NCCL_SOCKET_IFNAME=lo binds to loopback too.
    """
    rendezvous = (folder / names.RENDEZVOUS).resolve()
    return [
        "--nnodes=1",
        f"--nproc-per-node={ranks}",
        f"--max-restarts={MAX_RESTARTS}",
        "--monitor-interval=0.2",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={rendezvous / 'agents'}",
        "--rdzv-conf=store_type=file",
        f"--rdzv-id=job-{os.getpid()}",
        "--local-addr=127.0.0.1",
        "--module",
        worker.__name__,  # by import, so that what it trains with counts as code of the stage
        str(folder),
    ]


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
    ranks = TrainingJob.load(folder).ranks

    from torch.distributed.run import main as torchrun

    torchrun(torchrun_arguments(folder, ranks))


def try_lock(descriptor: int) -> bool:
    """Take the lock and return True, or return False because someone holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
