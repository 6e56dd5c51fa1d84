"""Training goes on while a checkpoint is written, and learns what became of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from operators.core.errors import Superseded  # noqa: E402
from operators.core.storage import Store  # noqa: E402
from operators.core.training.checkpoints import ADOPTED, Checkpoints, read_position  # noqa: E402
from operators.core.training.saving import Saver, Snapshot  # noqa: E402
from tests.core.training.test_checkpoints import JOB, publish, snapshot  # noqa: E402


class SlowCheckpoints(Checkpoints):
    """Checkpoints whose store takes as long as the test wants."""

    def __init__(self, store: Store, folder: Path) -> None:
        super().__init__(store, JOB, folder)
        self.may_end = threading.Event()

    def publish(self, snapshot: Snapshot) -> None:
        self.may_end.wait(30)
        super().publish(snapshot)


def save(saver: Saver, step: int) -> None:
    """Begin to save a state of that step."""
    made = snapshot(step)
    saver.save(made.position, made.part)


def test_a_save_returns_before_the_store_has_it(store: Store, tmp_path: Path) -> None:
    """The saver is busy until the write has ended, and then the checkpoint is there."""
    checkpoints = SlowCheckpoints(store, tmp_path / "slow")
    saver = Saver(checkpoints.publish)
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
    saver = Saver(Checkpoints(store, JOB, tmp_path / "zombie").publish)
    publish(Checkpoints(store, JOB, tmp_path / "heir"), 1)
    save(saver, 1)

    with pytest.raises(Superseded):
        saver.finish()
    assert saver.is_free()
    saver.close()


def test_closing_waits_for_the_write_at_work(store: Store, tmp_path: Path) -> None:
    """A training that ends in an error still leaves the checkpoint that it had begun."""
    checkpoints = SlowCheckpoints(store, tmp_path / "slow")
    saver = Saver(checkpoints.publish)
    save(saver, 1)
    threading.Timer(0.2, checkpoints.may_end.set).start()
    saver.close()

    assert len(store.stream(JOB.stream).entries()) == 1


def test_a_checkpoint_names_the_loss_of_the_step_after_it(store: Store, tmp_path: Path) -> None:
    """It is appended when that is known: with it, a resumed training is held against the one that was cut off."""
    checkpoints = Checkpoints(store, JOB, tmp_path / "own")
    saver = Saver(checkpoints.publish)
    save(saver, 1)
    is_early = saver.is_free()
    saver.tell(0.25)
    saver.finish()
    saver.close()
    next_one = Checkpoints(store, JOB, tmp_path / "next")
    next_one.adopt()

    assert not is_early
    assert read_position(tmp_path / "next" / ADOPTED).next_loss == 0.25
