"""Training goes on while a checkpoint is written, and learns what became of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from operators.core.errors import Superseded  # noqa: E402
from operators.core.storage import Store  # noqa: E402
from operators.core.training.checkpoints import Checkpoints  # noqa: E402
from operators.core.training.saving import Saver  # noqa: E402
from operators.core.training.state import Position, Tensors  # noqa: E402
from tests.core.training.test_checkpoints import GENERATORS, JOB, publish  # noqa: E402


class SlowCheckpoints(Checkpoints):
    """Checkpoints whose store takes as long as the test wants."""

    def __init__(self, store: Store, folder: Path) -> None:
        super().__init__(store, JOB, folder)
        self.may_end = threading.Event()

    def publish(self, position: Position, tensors: Tensors, generators: torch.Tensor) -> None:
        self.may_end.wait(30)
        super().publish(position, tensors, generators)


def save(saver: Saver, step: int) -> None:
    """Begin to save a state of that step."""
    saver.save(Position(step=step, losses=[0.5] * step), {"parameter.weight": torch.zeros(3)}, GENERATORS)


def test_a_save_returns_before_the_store_has_it(store: Store, tmp_path: Path) -> None:
    """The saver is busy until the write has ended, and then the checkpoint is there."""
    checkpoints = SlowCheckpoints(store, tmp_path / "slow")
    saver = Saver(checkpoints)
    was_free = saver.is_free()
    save(saver, 1)
    is_busy = not saver.is_free() and not store.stream(JOB.stream).entries()
    checkpoints.may_end.set()
    saver.finish()

    assert was_free and is_busy
    assert saver.is_free() and len(store.stream(JOB.stream).entries()) == 1
    saver.close()


def test_a_trainer_that_was_overtaken_learns_it_before_its_next_save(store: Store, tmp_path: Path) -> None:
    """What the thread met is raised in the training itself, once."""
    saver = Saver(Checkpoints(store, JOB, tmp_path / "zombie"))
    publish(Checkpoints(store, JOB, tmp_path / "heir"), 1)
    save(saver, 1)

    with pytest.raises(Superseded):
        saver.finish()
    assert saver.is_free()
    saver.close()


def test_closing_waits_for_the_write_at_work(store: Store, tmp_path: Path) -> None:
    """A training that ends in an error still leaves the checkpoint that it had begun."""
    checkpoints = SlowCheckpoints(store, tmp_path / "slow")
    saver = Saver(checkpoints)
    save(saver, 1)
    threading.Timer(0.2, checkpoints.may_end.set).start()
    saver.close()

    assert len(store.stream(JOB.stream).entries()) == 1
