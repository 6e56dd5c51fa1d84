"""Stages `fine_tune`, `continue_pretraining`, `train_student`: a model and data set become a model, in own processes.

The first makes a classifier, the second a base model that has learnt the data set's words, the third trains a student
that was cut from a classifier.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from operators.core.errors import DataError, StorageError
from operators.core.finetuning.recovery_spec import RecoverySpec
from operators.core.finetuning.spec import TrainingSpec
from operators.core.manifest import Made, Manifest, StageCall, sha256_of_file, spec_json
from operators.core.progress import Progress
from operators.core.settings import StorageSettings
from operators.core.storage import Result, Store
from operators.core.training import job as names
from operators.core.training import launcher, ledger
from operators.core.training.events import EVENTS
from operators.core.training.job import TrainingJob, read_record, write_record
from operators.core.training.machine import this_machine
from operators.core.training.rows import shards_of, task_of
from operators.core.training.spec import LANGUAGE, MASKED, LoopSpec, Machine
from operators.core.training.tracking import TrackingSettings

REVISION = 27
LOG_REVISION = 2
DISK_FACTOR = 8
"""Free local space needed, in sizes of the base model: it, one checkpoint, the product, and a margin."""

log = logging.getLogger(__name__)
Start = Callable[[], subprocess.Popen[bytes] | None]
"""Has a job trained, by a launcher that is returned where it is new."""


def fine_tune(
    store: Store,
    settings: StorageSettings,
    spec: TrainingSpec,
    *,
    dataset: str,
    base_model: str,
    teacher: str | None = None,
    scratch: Path,
    progress: Progress,
    account: dict[str, Any],
    machine: Machine | None = None,
    tracking: TrackingSettings | None = None,
) -> Result:
    """Return the model trained on a data set's `train` split: a classifier, or by a `PretrainingSpec` a base model.

    Args:
        store: Holds inputs, checkpoints and result.
        settings: The store's own, for the training processes.
        spec: What to do; every `auto` is decided here, before the run key is made.
        dataset: Digest of a data set's manifest.
        base_model: Digest of an adopted base model's manifest, or by a `RecoverySpec` of a student's before training.
        teacher: Digest of the model that a student learns of, where its spec has a guidance.
        scratch: Local work area; the same at a retry, or the training in it is not found again.
        progress: Told about steps, loss and speed.
        account: Given what the training cost over all its tries (see `ledger.account`), examples, seconds and speed of
            its last gang, and the digest of its log.
        machine: What to train on; this machine when None.
        tracking: Trackers that are told of each step, if any.

    Raises:
        TrainingError: See `launcher.wait`.
        DataError: The data set is too small, or an input does not fit.
        StorageError: The store failed, or the local disk has too little space.
    """
    begun = time.time()
    machine = machine or this_machine(scratch)
    log.info("%d GPUs, %d cores; precision auto is %s", machine.gpus, machine.cores, machine.why)
    account["precision_auto"] = machine.why
    loop = spec.resolve(machine)
    call = _call(store, spec, loop, dataset, base_model, teacher)
    folder = training_folder(scratch, call.run_key)

    def start() -> subprocess.Popen[bytes] | None:
        return launcher.ensure_running(folder, settings, tracking)

    def make() -> Made:
        ranks = spec.ranks_on(machine, loop.ranks)
        job = _job(store, call, loop, dataset, ranks=ranks, checkpoint_steps=spec.checkpoint_steps)
        first = _first_begun(folder, begun)
        made = _train(store, job, folder, start, progress, account)
        account.update(ledger.account(folder / ledger.RECORDS, first, time.time(), ranks))
        return made

    parent = os.getppid()
    result = store.once(call, make)
    if not result.found:
        account["training_log"] = _put_log(store, result, folder)
    # A task that lost its supervisor meanwhile has a retry, which may be reading in the folder.
    if os.getppid() == parent and not launcher.is_running(folder):
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _stage(spec: TrainingSpec) -> str:
    if isinstance(spec, RecoverySpec):
        return "train_student"
    return "continue_pretraining" if spec.task == MASKED else "fine_tune"


def _call(
    store: Store, spec: TrainingSpec, loop: LoopSpec, dataset: str, base_model: str, teacher: str | None
) -> StageCall:
    inputs = {"dataset": dataset, "base_model": base_model} | ({"teacher": teacher} if teacher else {})
    return StageCall(
        stage=_stage(spec),
        revision=REVISION,
        inputs=tuple(store.as_input(role, digest) for role, digest in inputs.items()),
        spec=spec_json(loop),
        seed=loop.seed,
    )


def _job(
    store: Store, call: StageCall, loop: LoopSpec, dataset: str, *, ranks: int, checkpoint_steps: int
) -> TrainingJob:
    return TrainingJob(
        run_key=call.run_key,
        inputs=call.inputs,
        loop=loop,
        ranks=ranks,
        labels=() if loop.task in LANGUAGE else tuple(store.manifest(dataset).facts["labels"]),
        checkpoint_steps=checkpoint_steps,
    )


def _first_begun(folder: Path, begun: float) -> float:
    """Return when the first try of a training began, in seconds since 1970; put it down where that is this one."""
    record = read_record(folder / ledger.BEGUN)
    if record is None:
        folder.mkdir(parents=True, exist_ok=True)
        record = {"at": begun}
        write_record(folder / ledger.BEGUN, record)
    return float(record["at"])


def _put_log(store: Store, model: Result, folder: Path) -> str:
    """Return the digest of a manifest of the training's event files.

    It is no part of the model, whose bytes do not tell how long anything took.
    """
    paths = sorted((folder / EVENTS).iterdir())
    call = StageCall(stage="training_log", revision=LOG_REVISION, inputs=(store.as_input("model", model.digest),))
    return store.once(call, lambda: Made(files=store.put_files((path.name, path) for path in paths))).digest


def training_folder(scratch: Path, run_key: str) -> Path:
    """Return the local folder of a run key's training."""
    return scratch / "training" / run_key


def _train(
    store: Store, job: TrainingJob, folder: Path, start: Start, progress: Progress, account: dict[str, Any]
) -> Made:
    started = time.perf_counter()
    if not launcher.is_running(folder) and read_record(folder / names.DONE) is None:
        _prepare(store, job, folder)
    if read_record(folder / names.DONE) is None:
        launcher.wait(folder, start(), progress)
    done = read_record(folder / names.DONE)
    assert done is not None, "wait() returns only once the record is there"
    account.update(done["account"], seconds_in_training=round(time.perf_counter() - started, 3))
    paths = {name: folder / names.OUTPUT / name for name in sorted(done["files"])}
    for name, path in paths.items():
        if not path.is_file() or sha256_of_file(path) != done["files"][name]:
            shutil.rmtree(folder)
            raise StorageError(
                f"{name} of the trained model changed on the local disk: training again from its checkpoint"
            )
    return Made(files=store.put_files(paths.items()), facts=done["facts"])


def _prepare(store: Store, job: TrainingJob, folder: Path) -> None:
    """Lay out the job: the base model's files, the job itself last. The ranks read the data set themselves."""
    dataset, base_model = (_manifest(store, job, role) for role in ("dataset", "base_model"))
    if job.loop.task not in (*LANGUAGE, task := task_of(dataset)):
        raise DataError(f"the data set's labels are for {task}, the recipe trains {job.loop.task}: change one")
    rows = sum(entry.rows or 0 for entry in shards_of(dataset, "train"))
    held_out = int(rows * job.loop.held_out)
    if rows - held_out < 2 * job.loop.ranks:
        raise DataError(
            f"{rows - held_out} rows to train on for {job.loop.ranks} ranks: each needs two; widen the window"
        )
    if job.loop.held_out and held_out < job.loop.ranks:
        raise DataError(
            f"{held_out} of {rows} rows held out for {job.loop.ranks} ranks: each needs one; raise held_out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    needed = DISK_FACTOR * sum(entry.bytes for entry in base_model.files)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise StorageError(f"{free} bytes are free below {folder}, training needs {needed}: make room")
    store.fetch_all(base_model, folder / names.BASE_MODEL)
    if job.loop.guidance is not None:
        store.fetch_all(_manifest(store, job, "teacher"), folder / names.TEACHER)
    job.save(folder)


def _manifest(store: Store, job: TrainingJob, role: str) -> Manifest:
    (digest,) = [item.manifest for item in job.inputs if item.role == role]
    assert digest is not None, "all inputs lie in the store"
    return store.manifest(digest)
