"""Checkpoints are written beside the training: a step waits for the copy of a rank's part, never for the store."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from operators.core.training.parts import Part
from operators.core.training.state import Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What one rank has to write of a checkpoint; nobody changes it any more."""

    position: Position
    part: Part
    next_loss: Future[float | None] = field(default_factory=Future)
    """Of the step that follows; None where none does."""


class Saver:
    """Writes one snapshot at a time on a thread of its own.

    What a write raised is raised by the next call of `is_free`, `save` or `finish`.
    """

    def __init__(self, write: Callable[[Snapshot], None]) -> None:
        """Name what writes: `Checkpoints.publish` at rank 0, `Parts.publish` at the others."""
        self._write = write
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._written: Future[None] | None = None
        self._waiting: Future[float | None] | None = None

    def is_free(self) -> bool:
        """Return whether the last checkpoint is written, or lost.

        Raises:
            Superseded: See `Checkpoints.publish`.
            StorageError: See `Checkpoints.publish`.
        """
        if self._written is not None and self._written.done():
            self.finish()
        return self._written is None

    def save(self, position: Position, part: Part) -> None:
        """Begin to write a snapshot, once the one before is."""
        self.finish()
        snapshot = Snapshot(position=position, part=part)
        self._waiting = snapshot.next_loss
        self._written = self._thread.submit(self._write, snapshot)

    def tell(self, loss: float | None) -> None:
        """Say what the step after the last snapshot lost: its checkpoint is not told of before."""
        if self._waiting is not None:
            self._waiting.set_result(loss)
            self._waiting = None

    def finish(self) -> None:
        """Have the last checkpoint written, or lost; raises what `is_free` raises."""
        self.tell(None)
        written, self._written = self._written, None
        if written is not None:
            written.result()

    def close(self) -> None:
        """Wait for the write at work, whatever becomes of it."""
        self.tell(None)
        self._thread.shutdown(wait=True)
