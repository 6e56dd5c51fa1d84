"""One training rank: started by the launcher, given a job folder and the store by environment, ended with its job.

python -m operators.core.training.worker FOLDER, or a fork that calls `main`
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from operators.core.errors import (
    CheckpointDoubted,
    DataError,
    LossDiverged,
    NightshiftError,
    Superseded,
    WorkerLost,
)
from operators.core.training import job as names
from operators.core.training.job import TrainingJob, read_record, write_record
from operators.core.training.ledger import RECORDS, Ledger, reached
from operators.core.training.processes import die_with_parent
from operators.core.training.spec import CAUSAL, Objective

if TYPE_CHECKING:
    import torch

    from operators.core.storage import Store
    from operators.core.training.checkpoints import Checkpoints
    from operators.core.training.loop import Loop
    from operators.core.training.reporting import Reporter
    from operators.core.training.saving import Saver

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Signals to which a fork of the launcher must not answer as the launcher does."""

log = logging.getLogger(__name__)


def load_libraries(task: Objective) -> None:
    """Import what a rank of a task needs, for the ranks that will be forks of this process; no thread is started."""
    importlib.import_module(f"transformers.models.{'llama.modeling_llama' if task == CAUSAL else 'bert.modeling_bert'}")

    import operators.core.training.checkpoints
    import operators.core.training.loop
    import operators.core.training.product
    import operators.core.training.reading
    import operators.core.training.reporting  # noqa: F401


def main(folder: Path) -> None:
    """Train as one rank of the folder's job; rank 0 leaves the model and `done.json`, or `failed.json`."""
    die_with_parent()
    ledger = Ledger(reached=reached(folder / RECORDS))
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    # The agent restarts the gang after any failure. One that would only repeat itself has left a record: end at once.
    if (failed := read_record(folder / names.FAILED)) is not None:
        log.info("not started again after %s: %s", failed["error"], failed["message"])
        return
    try:
        _train(folder, TrainingJob.load(folder), ledger)
    except NightshiftError as error:
        if isinstance(error, DataError | LossDiverged | Superseded):
            write_record(folder / names.FAILED, {"error": type(error).__name__, "message": str(error)})
        raise


def _train(folder: Path, job: TrainingJob, ledger: Ledger) -> None:
    import torch.distributed as dist

    from operators.core.settings import StorageSettings
    from operators.core.storage import open_store
    from operators.core.training.adapters import count
    from operators.core.training.checkpoints import Checkpoints, Parts
    from operators.core.training.putting import Putter
    from operators.core.training.saving import Saver

    device = _device(job)
    _join(folder, job)
    settings = StorageSettings.from_environment(os.environ)
    putter, store = Putter(settings, folder), open_store(settings)
    loop = _loop(store, folder, job, device, ledger)
    log.info("training %d of %d parameters", *count(loop.model))
    shared = folder / names.CHECKPOINT
    checkpoints = Checkpoints(store, job, shared, putter.put) if dist.get_rank() == 0 else None
    saver = Saver(checkpoints.publish if checkpoints else Parts(putter.put, shared, dist.get_rank()).publish)
    keep = _keeper(folder, loop) if checkpoints else lambda: None
    try:
        _run(folder, store, loop, checkpoints, saver, keep)
    finally:
        saver.close()
        loop.close()
        store.close()
        putter.close()
        loop.ledger.charge("finishing")
        keep()


def _run(
    folder: Path, store: Store, loop: Loop, checkpoints: Checkpoints | None, saver: Saver, keep: Callable[[], None]
) -> None:
    """Train from the newest good checkpoint to the end, or until rank 0 is to end; only rank 0 has `checkpoints`."""
    import torch.distributed as dist

    from operators.core.training.product import leave_product
    from operators.core.training.reporting import silent

    reporter = None
    try:
        _resume(loop, checkpoints, folder / names.CHECKPOINT)
        reporter = _report(store, folder, loop, keep) if checkpoints else None
        loop.run(saver, reporter or silent, (folder / names.END).exists)
        if loop.is_over:
            leave_product(folder, loop)
        elif checkpoints:
            _tell_of_end(folder, loop)
        # The collector need not wait for this trainer any more, nor for a part of its last checkpoint.
        dist.barrier()
    except CheckpointDoubted:
        if checkpoints:
            checkpoints.doubt()
        raise
    finally:
        if reporter is not None:
            reporter.close()


def _tell_of_end(folder: Path, loop: Loop) -> None:
    told = f"asked to end at step {loop.position.step} of {loop.total_steps}, which is saved: a retry goes on from it"
    write_record(folder / names.FAILED, {"error": WorkerLost.__name__, "message": told})


def _keeper(folder: Path, loop: Loop) -> Callable[[], None]:
    """Return what puts down what this gang has spent so far, for `fine_tune` to read when it has ended."""
    import torch

    from operators.core.training.energy import Meter
    from operators.core.training.flops import peak_flops
    from operators.core.training.mesh import HALF

    peak = peak_flops(loop.device, HALF.get(loop.spec.precision, torch.float32))
    meter = Meter(loop.device, loop.job.ranks)
    return lambda: loop.ledger.write(folder / RECORDS, loop.work, peak, meter)


def _device(job: TrainingJob) -> torch.device:
    import torch

    torch.set_num_threads(job.loop.threads_per_rank)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # That would also fill every new tensor first, in case it is read unwritten: 10 % of a step, and none is.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # Moments of a converged model are squares of tiny gradients: as denormals they slow the optimiser down.
    torch.set_flush_denormal(True)
    if job.loop.device == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def _join(folder: Path, job: TrainingJob) -> None:
    """Join the gang. Ranks find each other through a file: a TCP store would listen on every interface."""
    import torch.distributed as dist

    gang = folder / names.RENDEZVOUS / f"gang-{os.environ['TORCHELASTIC_RESTART_COUNT']}"
    dist.init_process_group(
        "nccl" if job.loop.device == "cuda" else "gloo",
        init_method=f"file://{gang.resolve()}",
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )


def _loop(store: Store, folder: Path, job: TrainingJob, device: torch.device, ledger: Ledger) -> Loop:
    import torch.distributed as dist

    from operators.core.training.loop import Loop
    from operators.core.training.making import first_model, teacher_of
    from operators.core.training.reading import open_loader

    model = first_model(job, folder / names.BASE_MODEL)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    loader = open_loader(store, job, folder, rank=rank, ranks=ranks)
    held_out = None
    if job.loop.held_out:
        held_out = open_loader(store, job, folder, rank=rank, ranks=ranks, is_held_out=True)
    return Loop(job, model, loader, device, held_out, ledger, teacher_of(job, folder / names.TEACHER))


def _resume(loop: Loop, checkpoints: Checkpoints | None, folder: Path) -> None:
    """Put every rank where the newest good checkpoint says; rank 0 fetches it for all, they share the machine."""
    import torch
    import torch.distributed as dist

    from operators.core.training.checkpoints import ADOPTED

    found = torch.tensor([int(checkpoints is not None and checkpoints.adopt())], device=loop.device)
    dist.broadcast(found, src=0)
    if found.item():
        loop.resume(folder / ADOPTED)
        log.info("resumed at step %d of %d", loop.position.step, loop.total_steps)


def _report(store: Store, folder: Path, loop: Loop, keep: Callable[[], None]) -> Reporter:
    """Return what tells of each step."""
    from operators.core.training.reading import dataset_of
    from operators.core.training.reporting import Reporter, tracked
    from operators.core.training.trackers import open_feeds
    from operators.core.training.tracking import TrackingSettings

    run = tracked(loop.job, dataset_of(store, loop.job))
    return Reporter(folder, loop, keep, open_feeds(TrackingSettings.from_environment(os.environ), run))


def leave() -> NoReturn:
    """End this process at once, with everything done and told, as a fork ends.

    Taking the group down can wait for ever: it joins threads while it holds the interpreter's lock, and one of them may
    be waiting for that to let go of a tensor. Two ranks once stood so for ten minutes, their model finished.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave()
