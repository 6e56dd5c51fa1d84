"""Checkpoints are written beside the training: a step waits for the copy of the state, never for the store."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch

from operators.core.training.checkpoints import Checkpoints
from operators.core.training.state import Position, Tensors


class Saver:
    """Publishes one checkpoint at a time on a thread of its own.

    What a write raised is raised by the next call of `is_free` or `finish`.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._written: Future[None] | None = None

    def is_free(self) -> bool:
        """Return whether the last checkpoint is in the store, or lost.

        Raises:
            Superseded: See `Checkpoints.publish`.
            StorageError: See `Checkpoints.publish`.
        """
        if self._written is not None and self._written.done():
            self.finish()
        return self._written is None

    def save(self, position: Position, tensors: Tensors, generators: torch.Tensor) -> None:
        """Begin to publish a state that nobody changes any more; only when `is_free`."""
        assert self._written is None
        self._written = self._thread.submit(self._checkpoints.publish, position, tensors, generators)

    def finish(self) -> None:
        """Have the last checkpoint in the store, or lost; raises what `is_free` raises."""
        written, self._written = self._written, None
        if written is not None:
            written.result()

    def close(self) -> None:
        """Wait for the write at work, whatever becomes of it."""
        self._thread.shutdown(wait=True)
