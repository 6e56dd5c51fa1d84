"""Checkpoints in the store: written whole, appended last, the newest that verifies is the one to go on from."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from operators.core.errors import DataError, StorageError, Superseded
from operators.core.manifest import Made, Manifest, StageCall, canonical, spec_json
from operators.core.storage import Entry, Store
from operators.core.training.job import TrainingJob
from operators.core.training.state import Position, Tensors

REVISION = 10
MISSES_ALLOWED = 2
"""Checkpoints in a row that a failing store may cost: one lost save is no reason to lose the run."""

log = logging.getLogger(__name__)


class Checkpoints:
    """One job's checkpoints, as seen by the one trainer that writes them."""

    def __init__(self, store: Store, job: TrainingJob, folder: Path) -> None:
        self._store = store
        self._job = job
        self._folder = folder
        self._stream = store.stream(job.stream)
        self._head: Entry | None = None
        self._written: set[str] = set()
        self._misses = 0

    def adopt(self) -> bool:
        """Fetch the newest checkpoint that verifies fully into the folder; return whether there is one.

        The head of the stream becomes this trainer's own, also where its checkpoint is damaged and an older one is
        used.
        """
        entries = self._stream.entries()
        self._head = entries[-1] if entries else None
        for entry in reversed(entries):
            shutil.rmtree(self._folder, ignore_errors=True)
            try:
                self._store.fetch_all(self._store.manifest(entry.manifest), self._folder)
                read_position(self._folder)
            except (StorageError, DataError) as error:
                log.warning("checkpoint %d cannot be used, trying the one before: %s", entry.generation, error)
                continue
            return True
        return False

    def publish(self, position: Position, tensors: Tensors, generators: torch.Tensor) -> None:
        """Put a checkpoint into the store and append it; a failing store costs it, at most twice in a row.

        Raises:
            Superseded: The head of the stream is an entry of another trainer.
            StorageError: The third failure in a row.
        """
        try:
            manifest = self._put(position, tensors, generators)
            self._append(self._store.put_manifest(manifest))
        except StorageError as error:
            self._misses += 1
            if self._misses > MISSES_ALLOWED:
                raise
            log.warning("no checkpoint at step %d, going on: %s", position.step, error)
            return
        self._misses = 0

    def _append(self, digest: str) -> None:
        self._written.add(digest)
        while self._head is None or self._head.manifest != digest:
            entry = self._stream.append(digest, after=self._head)
            # An append of ours whose answer was lost may have landed after all: then the next one follows it.
            if entry.manifest not in self._written:
                raise Superseded(f"another trainer wrote checkpoint {entry.generation} of {self._job.stream}: stopping")
            self._head = entry

    def _put(self, position: Position, tensors: Tensors, generators: torch.Tensor) -> Manifest:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        save_file(tensors, self._folder / "state.safetensors")
        save_file({"ranks": generators}, self._folder / "generators.safetensors")
        (self._folder / "position.json").write_bytes(canonical(asdict(position)))
        files = self._store.put_files((path.name, path) for path in sorted(self._folder.iterdir()))
        spec = {"loop": spec_json(self._job.loop), "labels": list(self._job.labels), "step": position.step}
        call = StageCall(
            stage="checkpoint", revision=REVISION, inputs=self._job.inputs, spec=spec, seed=self._job.loop.seed
        )
        return Manifest.of(call, Made(files=files, facts={"step": position.step, "training": self._job.run_key}))


def read_position(folder: Path) -> Position:
    """Return how far the checkpoint in a folder had come.

    Raises:
        DataError: The file is missing or not a position.
    """
    try:
        return Position.from_json(json.loads((folder / "position.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"the checkpoint's position is unreadable: {error}") from error


def read_tensors(folder: Path) -> tuple[Tensors, torch.Tensor]:
    """Return the state and every rank's random state that the checkpoint in a folder holds."""
    return load_file(folder / "state.safetensors"), load_file(folder / "generators.safetensors")["ranks"]
