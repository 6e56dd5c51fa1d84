"""Checkpoints in the store: a part from each rank, the entry last; the newest that verifies is gone on from."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from operators.core.errors import DataError, StorageError, Superseded
from operators.core.manifest import FileEntry, Made, Manifest, StageCall, canonical, spec_json
from operators.core.storage import Entry, Store
from operators.core.training.job import TrainingJob, read_record, write_record
from operators.core.training.parts import StoredState, write_part
from operators.core.training.saving import Snapshot
from operators.core.training.state import Position

REVISION = 19
MISSES_ALLOWED = 2
"""Checkpoints in a row that a failing store may cost: one lost save is no reason to lose the run."""
PARTS_SECONDS = 600.0
"""How long rank 0 waits for the other ranks' parts before the checkpoint counts as lost."""
ADOPTED = "adopted"
"""Subfolder of the checkpoint that is gone on from; those being written are named by their step."""
_DOUBTED = "doubted.json"
Put = Callable[[str, Path], FileEntry]
"""Holds a local file in the store under a name; raises StorageError."""

log = logging.getLogger(__name__)


class Parts:
    """One rank's parts of checkpoints, told of by records in a folder that all ranks of the machine share."""

    def __init__(self, put: Put, folder: Path, rank: int) -> None:
        self._put, self._folder, self._rank = put, folder, rank

    def publish(self, snapshot: Snapshot) -> None:
        """Have the rank's part in the store, or lost, and rank 0 told which."""
        told = self._told(snapshot.position.step, self._rank)
        record: dict[str, Any]
        try:
            record = {"entry": asdict(self.put(snapshot))}
        except (StorageError, OSError) as error:
            record = {"error": str(error)}
        # Rank 0 may have given this checkpoint up already, and its folder with it.
        told.parent.mkdir(parents=True, exist_ok=True)
        write_record(told, record)

    def put(self, snapshot: Snapshot) -> FileEntry:
        """Have the rank's part in the store.

        Raises:
            StorageError: The store failed, or the local disk.
        """
        path = self.folder_of(snapshot.position.step) / f"state-{self._rank:05d}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_part(snapshot.part, path)
        return self._put(path.name, path)

    def others(self, step: int, ranks: int) -> list[FileEntry]:
        """Return the parts of all ranks but this, once they are in the store.

        Raises:
            StorageError: One is lost, or not there in time.
        """
        deadline = time.monotonic() + PARTS_SECONDS
        entries = []
        for rank in sorted(set(range(ranks)) - {self._rank}):
            while (record := read_record(self._told(step, rank))) is None:
                if time.monotonic() > deadline:
                    raise StorageError(f"rank {rank} did not tell of its part within {PARTS_SECONDS:g} s")
                time.sleep(0.01)
            if "error" in record:
                raise StorageError(f"rank {rank}'s part is lost: {record['error']}")
            entries.append(FileEntry(**record["entry"]))
        return entries

    def folder_of(self, step: int) -> Path:
        """Return where the parts of that step's checkpoint are written."""
        return self._folder / str(step)

    def _told(self, step: int, rank: int) -> Path:
        return self.folder_of(step) / f"part-{rank}.json"


class Checkpoints:
    """One job's checkpoints, as seen by the one trainer that writes them, at its rank 0."""

    def __init__(self, store: Store, job: TrainingJob, folder: Path, put: Put | None = None) -> None:
        """Begin with none.

        Args:
            store: Where they are.
            job: Whose they are.
            folder: Shared by the gang's ranks.
            put: Holds this rank's part in the store; None for this process itself.
        """
        self._store, self._job, self._folder = store, job, folder
        self._parts = Parts(put or store.put_file, folder, 0)
        self._stream = store.stream(job.stream)
        self._head: Entry | None = None
        self._written: set[str] = set()
        self._misses = 0
        self._adopted: str | None = None

    def adopt(self) -> bool:
        """Fetch the newest checkpoint that verifies fully into `ADOPTED` of the folder; return whether there is one.

        The head of the stream becomes this trainer's own, also where its checkpoint is damaged and an older one is
        used.
        """
        entries, doubted = self._stream.entries(), self._doubted()
        self._head = entries[-1] if entries else None
        for entry in reversed([entry for entry in entries if entry.manifest not in doubted]):
            self._clear()
            try:
                self._store.fetch_all(self._store.manifest(entry.manifest), self._folder / ADOPTED)
                read_position(self._folder / ADOPTED)
                StoredState(self._folder / ADOPTED)
            except (StorageError, DataError) as error:
                log.warning("checkpoint %d cannot be used, trying the one before: %s", entry.generation, error)
                continue
            self._adopted = entry.manifest
            return True
        self._clear()
        return False

    def doubt(self) -> None:
        """Have no trainer that shares the folder adopt the same checkpoint again."""
        assert self._adopted is not None
        write_record(self._folder / _DOUBTED, {"manifests": [*self._doubted(), self._adopted]})

    def _doubted(self) -> list[str]:
        return list((read_record(self._folder / _DOUBTED) or {"manifests": []})["manifests"])

    def _clear(self, but: Path | None = None) -> None:
        """Have no parts of former checkpoints in the folder."""
        for former in self._folder.iterdir() if self._folder.exists() else ():
            if former.is_dir() and former != but:
                shutil.rmtree(former, ignore_errors=True)

    def publish(self, snapshot: Snapshot) -> None:
        """Append a checkpoint once all its parts are in the store; a failure costs it, at most twice in a row.

        Raises:
            Superseded: The head of the stream is an entry of another trainer.
            StorageError: The third failure in a row.
            DataError: The same, where the parts do not make a whole.
        """
        position = snapshot.position
        try:
            manifest = self._put(snapshot)
            self._append(self._store.put_manifest(manifest))
        except (StorageError, DataError) as error:
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

    def _put(self, snapshot: Snapshot) -> Manifest:
        step, ranks = snapshot.position.step, snapshot.position.world_sizes[-1]
        folder = self._parts.folder_of(step)
        self._clear(but=folder)
        # A lease a checkpoint: the collector waits for the oldest, and would leave all of a training's otherwise.
        self._store.end_lease()
        files = [self._parts.put(snapshot), *self._parts.others(step, ranks)]
        StoredState(folder)
        position = replace(snapshot.position, next_loss=snapshot.next_loss.result())
        files.append(self._store.put_bytes("position.json", canonical(asdict(position))))
        spec = {"loop": spec_json(self._job.loop), "labels": list(self._job.labels), "step": step}
        call = StageCall(
            stage="checkpoint", revision=REVISION, inputs=self._job.inputs, spec=spec, seed=self._job.loop.seed
        )
        facts = {"step": step, "training": self._job.run_key}
        return Manifest.of(call, Made(files=tuple(sorted(files, key=lambda entry: entry.name)), facts=facts))


def read_position(folder: Path) -> Position:
    """Return how far the checkpoint in a folder had come.

    Raises:
        DataError: The file is missing or not a position.
    """
    try:
        return Position.from_json(json.loads((folder / "position.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"the checkpoint's position is unreadable: {error}") from error
