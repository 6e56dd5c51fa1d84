"""The newest checkpoint that verifies is gone on from, and a trainer that was overtaken stops."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from operators.core.errors import Superseded  # noqa: E402
from operators.core.finetuning.spec import TrainingSpec  # noqa: E402
from operators.core.storage import Store  # noqa: E402
from operators.core.training.checkpoints import Checkpoints, read_position, read_tensors  # noqa: E402
from operators.core.training.job import TrainingJob  # noqa: E402
from operators.core.training.spec import Machine  # noqa: E402
from operators.core.training.state import Position  # noqa: E402

LOOP = TrainingSpec(precision="fp32").resolve(Machine(cores=2, gpus=0, precision="fp32"))
JOB = TrainingJob(run_key="0" * 64, inputs=(), loop=LOOP, ranks=2, labels=("ham", "spam"), checkpoint_steps=1)
GENERATORS = torch.arange(12, dtype=torch.uint8).reshape(2, 6)


def publish(checkpoints: Checkpoints, step: int, value: float = 1.0) -> None:
    """Publish a checkpoint of that step."""
    position = Position(step=step, losses=[0.5] * step)
    checkpoints.publish(position, {"parameter.weight": torch.full((3,), value)}, GENERATORS)


def test_a_checkpoint_comes_back_whole(store: Store, tmp_path: Path) -> None:
    """Another trainer of the job finds the newest position, tensors and random states."""
    first = Checkpoints(store, JOB, tmp_path / "first")
    assert first.adopt() is False
    publish(first, 1)
    publish(first, 2, value=2.0)
    second = Checkpoints(store, JOB, tmp_path / "second")

    assert second.adopt() is True
    assert read_position(tmp_path / "second") == Position(step=2, losses=[0.5, 0.5])
    tensors, generators = read_tensors(tmp_path / "second")
    assert tensors["parameter.weight"].tolist() == [2.0] * 3
    assert torch.equal(generators, GENERATORS)


def test_a_trainer_that_was_overtaken_stops(store: Store, tmp_path: Path) -> None:
    """The first trainer's next checkpoint meets an entry that it neither wrote nor adopted: it is the zombie."""
    zombie, heir = (Checkpoints(store, JOB, tmp_path / name) for name in ("zombie", "heir"))
    zombie.adopt()
    publish(zombie, 1)
    heir.adopt()
    publish(heir, 2)

    with pytest.raises(Superseded):
        publish(zombie, 3)
    publish(heir, 3)
    assert len(store.stream(JOB.stream).entries()) == 3


def test_a_damaged_checkpoint_gives_way_to_the_one_before(store: Store, tmp_path: Path) -> None:
    """With every copy of the newest one's state spoilt, the one before is adopted, and the next follows the newest."""
    first = Checkpoints(store, JOB, tmp_path / "first")
    first.adopt()
    publish(first, 1)
    publish(first, 2, value=2.0)
    newest = store.manifest(store.stream(JOB.stream).entries()[-1].manifest)
    for copy in tmp_path.rglob(newest.file("state.safetensors").stored_sha256):
        copy.chmod(0o600)
        copy.write_bytes(b"spoilt")
    second = Checkpoints(store, JOB, tmp_path / "second")

    assert second.adopt() is True
    assert read_position(tmp_path / "second").step == 1
    publish(second, 2, value=3.0)
    assert len(store.stream(JOB.stream).entries()) == 3
