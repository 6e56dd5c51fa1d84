"""The job that a training process is given, and the records by which it answers: JSON files in one local folder.

The folder is the hand-over between the task that wants a model and the processes that train it, which outlive that task
when it is killed. Everything in it can be made again; what must last lies in the store.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from operators.core.manifest import Input, canonical
from operators.core.models.card import ClassifierCard
from operators.core.training.spec import CAUSAL, MASKED, LoopSpec

JOB, DONE, FAILED, PROGRESS, LAUNCHER, LOCK, END = (
    "job.json", "done.json", "failed.json", "progress.json", "launcher.json", "launcher.lock", "end.json",
)  # fmt: skip
BASE_MODEL, TOKENS, CHECKPOINT, RENDEZVOUS, OUTPUT, LOG = (
    "base_model", "tokens", "checkpoint", "rendezvous", "output", "log.txt",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingJob:
    """What to train, from which inputs, and under which run key its checkpoints are found."""

    run_key: str
    inputs: tuple[Input, ...]
    """The training stage's inputs: its checkpoints name the same ones."""
    loop: LoopSpec
    ranks: int
    """Processes to start: fewer than the loop's where the machine has no more."""
    labels: tuple[str, ...]
    """In the order of the label numbers; a language model has none."""
    checkpoint_steps: int

    @property
    def card(self) -> ClassifierCard:
        """The card of the classifier that this job makes."""
        assert self.loop.task != MASKED and self.loop.task != CAUSAL, "a language model tells no labels"
        return ClassifierCard(
            format="safetensors", task=self.loop.task, labels=self.labels, max_length=self.loop.max_length
        )

    @property
    def stream(self) -> str:
        """Name of the stream of this job's checkpoints."""
        return f"checkpoint-{self.run_key}"

    def save(self, folder: Path) -> None:
        """Write the job into its folder."""
        write_record(folder / JOB, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> TrainingJob:
        """Read the folder's job."""
        document = json.loads((folder / JOB).read_text())
        document["inputs"] = tuple(Input(**item) for item in document["inputs"])
        document["loop"] = LoopSpec.from_json(document["loop"])
        document["labels"] = tuple(document["labels"])
        return cls(**document)


def write_record(path: Path, document: dict[str, Any]) -> None:
    """Put a record in place whole: a reader sees the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(canonical(document))
    temporary.replace(path)


def read_record(path: Path) -> dict[str, Any] | None:
    """Return a record, or None when there is none."""
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return document
