"""The newest checkpoint that verifies is gone on from, and a trainer that was overtaken stops."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from operators.core.errors import StorageError, Superseded  # noqa: E402
from operators.core.finetuning.spec import TrainingSpec  # noqa: E402
from operators.core.storage import Store  # noqa: E402
from operators.core.storage.pins import read_pins  # noqa: E402
from operators.core.training.checkpoints import ADOPTED, Checkpoints, Parts, read_position  # noqa: E402
from operators.core.training.job import TrainingJob  # noqa: E402
from operators.core.training.parts import StoredState, take_part  # noqa: E402
from operators.core.training.saving import Snapshot  # noqa: E402
from operators.core.training.spec import Machine  # noqa: E402
from operators.core.training.state import Position  # noqa: E402

LOOP = TrainingSpec(precision="fp32").resolve(Machine(cores=2, gpus=0, precision="fp32"))
JOB = TrainingJob(run_key="0" * 64, inputs=(), loop=LOOP, ranks=2, labels=("ham", "spam"), checkpoint_steps=1)


def snapshot(step: int, value: float = 1.0, *, rank: int = 0, ranks: int = 1) -> Snapshot:
    """Return a rank's part of a state of that step; the next step's loss is half."""
    state = {"parameter.weight": torch.full((3,), value)}
    position = Position(step=step, losses=[0.5] * step, world_sizes=[ranks])
    made = Snapshot(position=position, part=take_part(state, {}, rank, ranks, 1))
    made.next_loss.set_result(0.5)
    return made


def publish(checkpoints: Checkpoints, step: int, value: float = 1.0) -> None:
    """Publish a checkpoint of that step, of one rank."""
    checkpoints.publish(snapshot(step, value))


def weights(folder: Path) -> list[float]:
    """Return the tensor of an adopted checkpoint."""
    room = {"parameter.weight": torch.empty(3)}
    StoredState(folder / ADOPTED).fill(room)
    return room["parameter.weight"].tolist()


def test_a_checkpoint_comes_back_whole(store: Store, tmp_path: Path) -> None:
    """Another trainer of the job finds the newest position, with the loss that followed, and tensors."""
    first = Checkpoints(store, JOB, tmp_path / "first")
    assert first.adopt() is False
    publish(first, 1)
    publish(first, 2, value=2.0)
    second = Checkpoints(store, JOB, tmp_path / "second")

    assert second.adopt() is True
    expected = Position(step=2, losses=[0.5, 0.5], world_sizes=[1], next_loss=0.5)
    assert read_position(tmp_path / "second" / ADOPTED) == expected
    assert weights(tmp_path / "second") == [2.0] * 3


def test_an_entry_is_appended_when_every_rank_has_put_its_part(store: Store, tmp_path: Path) -> None:
    """Rank 0 waits for the other's; the two halves make the whole."""
    first = Checkpoints(store, JOB, tmp_path / "gang")
    writer = threading.Thread(target=first.publish, args=[snapshot(1, ranks=2)])
    writer.start()
    writer.join(0.2)
    early = store.stream(JOB.stream).entries()
    Parts(store.put_file, tmp_path / "gang", 1).publish(snapshot(1, rank=1, ranks=2))
    writer.join()

    assert early == []
    assert Checkpoints(store, JOB, tmp_path / "next").adopt() is True
    assert weights(tmp_path / "next") == [1.0] * 3


def test_a_part_that_is_lost_costs_its_checkpoint(store: Store, tmp_path: Path) -> None:
    """Rank 0 learns that another's disk is full and goes on; the third time in a row it stops."""
    gang = Checkpoints(store, JOB, tmp_path / "gang")
    for step in (1, 2, 3):
        # Where a folder should be.
        lost = Parts(store.put_file, tmp_path / "gang", 1)
        (tmp_path / "gang" / str(step) / "state-00001.safetensors").mkdir(parents=True)
        lost.publish(snapshot(step, rank=1, ranks=2))
        with pytest.raises(StorageError, match="rank 1's part is lost") if step == 3 else nullcontext():
            gang.publish(snapshot(step, ranks=2))

    assert store.stream(JOB.stream).entries() == []


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
    for copy in tmp_path.rglob(newest.file("state-00000.safetensors").stored_sha256):
        copy.chmod(0o600)
        copy.write_bytes(b"spoilt")
    second = Checkpoints(store, JOB, tmp_path / "second")

    assert second.adopt() is True
    assert read_position(tmp_path / "second" / ADOPTED).step == 1
    publish(second, 2, value=3.0)
    assert len(store.stream(JOB.stream).entries()) == 3


def test_a_doubted_checkpoint_gives_way_to_the_one_before(store: Store, tmp_path: Path) -> None:
    """Its bits are right, but what was read from it had another loss: the next gang does not take it again."""
    first = Checkpoints(store, JOB, tmp_path / "first")
    first.adopt()
    publish(first, 1)
    publish(first, 2)
    for step in (2, 1):
        gang = Checkpoints(store, JOB, tmp_path / "second")
        assert gang.adopt() is True
        assert read_position(tmp_path / "second" / ADOPTED).step == step
        gang.doubt()

    assert Checkpoints(store, JOB, tmp_path / "second").adopt() is False


def test_a_training_leaves_no_lease_that_began_before_its_last_checkpoint(store: Store, tmp_path: Path) -> None:
    """Or the collector would keep every checkpoint of a long training for its writer's sake."""
    first = Checkpoints(store, JOB, tmp_path / "first")
    publish(first, 1)
    (before,) = read_pins(store.membership, store.record)
    publish(first, 2)
    (after,) = read_pins(store.membership, store.record)

    assert after.started > before.started
