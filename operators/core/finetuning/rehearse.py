"""The first steps of a training once more, in a restored place: what is stored still trains, and loses the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.core.errors import DataError, WorkerLost
from operators.core.finetuning.fine_tune import REVISION
from operators.core.manifest import Manifest, StageCall
from operators.core.progress import Progress, no_progress
from operators.core.settings import StorageSettings
from operators.core.storage import Store
from operators.core.training import job as names
from operators.core.training import launcher
from operators.core.training.job import TrainingJob, read_record, write_record
from operators.core.training.machine import this_machine
from operators.core.training.spec import LANGUAGE, LoopSpec

STEPS = 8
"""Compared: later ones differ more and more where the machine is another. Some more are taken until the processes hear
that it is enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrained:
    """What the first steps came to."""

    steps: int
    """Compared, at most `STEPS`."""
    difference: float
    """The largest between a step's loss and what the same step lost then, as a share of the first step's loss."""


def why_not(model: Manifest, scratch: Path) -> str | None:
    """Return why this code on this machine cannot repeat a training, None where it can."""
    if model.revision != REVISION:
        return f"trained by revision {model.revision} of fine_tune, this is {REVISION}"
    loop = LoopSpec.from_json(dict(model.spec))
    machine = this_machine(scratch)
    if loop.device == "cuda" and machine.gpus < loop.ranks:
        return f"trained on {loop.ranks} GPUs, this machine has {machine.gpus}"
    return None


def retrain(
    store: Store, settings: StorageSettings, model: str, scratch: Path, progress: Progress = no_progress
) -> Retrained:
    """Take the first steps of the training that made a model again, from its stored data set and base model.

    Args:
        store: Holds the model and all that it was made of; takes a checkpoint.
        settings: The store's own, for the training processes.
        model: Digest of a `fine_tune` result that nothing speaks against (`why_not`).
        scratch: Local work area.
        progress: Told about steps and loss.

    Raises:
        LossDiverged: A loss is not finite.
        WorkerLost: The processes died before they took a step.
        StorageError, DataError: What it was made of cannot be read.
    """
    made = store.manifest(model)
    job, folder = _job(store, made, model), scratch / "training" / "rehearsal"
    folder.mkdir(parents=True)
    store.fetch_all(store.manifest(_digest(made, "base_model")), folder / names.BASE_MODEL)
    job.save(folder)

    def end_soon(step: int, total: int, note: str) -> None:
        progress(step, total, note)
        if step >= STEPS:
            write_record(folder / names.END, {"asked": step})

    try:
        launcher.wait(folder, launcher.ensure_running(folder, settings), end_soon)
    except WorkerLost:
        # So it says of one that was asked to end; what it saved tells whether that is what happened.
        if not (folder / names.END).exists():
            raise
    then = json.loads(store.read(made.file("history.json")))["step_losses"]
    now = _losses(store, job, folder)
    pairs = list(zip(now[:STEPS], then, strict=False))
    if not pairs:
        raise WorkerLost("the processes ended before they took a step")
    return Retrained(steps=len(pairs), difference=max(abs(a - b) for a, b in pairs) / max(then[0], 1e-9))


def _job(store: Store, made: Manifest, model: str) -> TrainingJob:
    loop = LoopSpec.from_json(dict(made.spec))
    call = StageCall(stage="rehearse_training", revision=REVISION, inputs=(store.as_input("model", model),))
    labels = () if loop.task in LANGUAGE else tuple(store.manifest(_digest(made, "dataset")).facts["labels"])
    # Once an epoch and at the end it saves anyway.
    steps = 1_000_000
    return TrainingJob(
        run_key=call.run_key, inputs=made.inputs, loop=loop, ranks=loop.ranks, labels=labels, checkpoint_steps=steps
    )


def _losses(store: Store, job: TrainingJob, folder: Path) -> list[float]:
    """Return the steps' losses, of a training that was asked to end or was over before it heard of that."""
    if read_record(folder / names.DONE) is not None:
        history: dict[str, Any] = json.loads((folder / names.OUTPUT / "history.json").read_text())
        return list(history["step_losses"])
    head = store.stream(job.stream).head()
    if head is None:
        raise DataError("the training ended and left no checkpoint")
    return list(json.loads(store.read(store.manifest(head.manifest).file("position.json")))["losses"])


def _digest(made: Manifest, role: str) -> str:
    (digest,) = (item.manifest for item in made.inputs if item.role == role)
    assert digest is not None, "all inputs lie in the store"
    return digest
