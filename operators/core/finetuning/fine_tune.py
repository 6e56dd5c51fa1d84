"""Stages `fine_tune`, `continue_pretraining`, `train_student`: a model and data set become a model, in own processes.

The first makes a classifier, the second a base model that has learnt the data set's words, the third trains a student
that was cut from a classifier.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

from operators.core.errors import DataError, StorageError
from operators.core.finetuning.spec import RecoverySpec, TrainingSpec
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
from operators.core.training.spec import MASKED, Machine

REVISION = 25
LOG_REVISION = 1
DISK_FACTOR = 8
"""Free local space needed, in sizes of the base model: it, one checkpoint, the product, and a margin."""

log = logging.getLogger(__name__)


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
    inputs = {"dataset": dataset, "base_model": base_model} | ({"teacher": teacher} if teacher else {})
    call = StageCall(
        stage=_stage(spec),
        revision=REVISION,
        inputs=tuple(store.as_input(role, digest) for role, digest in inputs.items()),
        spec=spec_json(loop),
        seed=spec.seed,
    )
    folder = training_folder(scratch, call.run_key)

    def make() -> Made:
        job = TrainingJob(
            run_key=call.run_key,
            inputs=call.inputs,
            loop=loop,
            ranks=spec.ranks_on(machine, loop.ranks),
            labels=() if loop.task == MASKED else tuple(store.manifest(dataset).facts["labels"]),
            checkpoint_steps=spec.checkpoint_steps,
        )
        if read_record(folder / ledger.BEGUN) is None:
            folder.mkdir(parents=True, exist_ok=True)
            write_record(folder / ledger.BEGUN, {"at": begun})
        made = _train(store, settings, job, folder, progress, account)
        first = read_record(folder / ledger.BEGUN) or {"at": begun}
        account.update(ledger.account(folder / ledger.RECORDS, first["at"], time.time(), job.ranks))
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
    store: Store, settings: StorageSettings, job: TrainingJob, folder: Path, progress: Progress, account: dict[str, Any]
) -> Made:
    started = time.perf_counter()
    if not launcher.is_running(folder) and read_record(folder / names.DONE) is None:
        _prepare(store, job, folder)
    if read_record(folder / names.DONE) is None:
        launcher.wait(folder, launcher.ensure_running(folder, settings), progress)
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
    if job.loop.task not in (MASKED, task := task_of(dataset)):
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
