"""Parts of a state make the whole again, whoever reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from operators.core.errors import DataError  # noqa: E402
from operators.core.training.parts import StoredState, take_part, write_part  # noqa: E402

SHAPES = st.lists(st.lists(st.integers(1, 5), max_size=3), min_size=1, max_size=4)


@given(shapes=SHAPES, ranks=st.integers(1, 6))
def test_replicas_share_a_state_out_and_it_comes_back(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[list[int]], ranks: int
) -> None:
    """However many there are: nothing is written twice, and every bit is read again."""
    folder = tmp_path_factory.mktemp("parts")
    state = {f"tensor.{number}": torch.randn(shape) for number, shape in enumerate(shapes)}
    parts = [take_part(state, {f"own.{rank}": torch.ones(2)}, rank, ranks, 1) for rank in range(ranks)]
    for rank, part in enumerate(parts):
        write_part(part, folder / f"state-{rank}.safetensors")
    stored = StoredState(folder)
    room = {name: torch.full_like(tensor, torch.nan) for name, tensor in state.items()}
    stored.fill(room)

    assert all(room[name].equal(tensor) for name, tensor in state.items())
    assert set(stored.tensors) == {*state, *(f"own.{rank}" for rank in range(ranks))}


def test_a_state_with_a_part_missing_is_refused(tmp_path: Path) -> None:
    """Of three parts the middle one: the others' places do not make the whole."""
    state = {"weight": torch.ones(3, 2)}
    for rank in (0, 2):
        write_part(take_part(state, {}, rank, 3, 1), tmp_path / f"state-{rank}.safetensors")

    with pytest.raises(DataError, match="weight in part"):
        StoredState(tmp_path)


def test_a_state_of_another_shape_is_refused(tmp_path: Path) -> None:
    """A larger layer is not filled in part."""
    write_part(take_part({"weight": torch.ones(3)}, {}, 0, 1, 1), tmp_path / "state-0.safetensors")

    with pytest.raises(DataError, match="another model"):
        StoredState(tmp_path).fill({"weight": torch.ones(4)})


def test_no_part_is_read_as_a_pickle(tmp_path: Path) -> None:
    """A file that would run code on being unpickled is refused as no safetensors."""
    torch.save({"weight": torch.ones(3)}, tmp_path / "state-0.safetensors")

    with pytest.raises(DataError, match="unreadable"):
        StoredState(tmp_path)
