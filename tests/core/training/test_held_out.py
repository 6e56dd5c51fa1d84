"""Held-out rows are a share of each data set's rows, which no training step sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from operators.core.training.held_out import Part
from operators.core.training.loader import Loader, Plan
from operators.core.training.tokens import TokenTable, TokenTables

SHARDS = st.lists(st.integers(0, 50), min_size=1, max_size=8)


def rows_of(part: Part) -> list[tuple[int, int]]:
    """Return the shard and place of each of a part's rows."""
    return [
        (shard, place)
        for shard, rows in enumerate(part.shard_rows)
        if rows
        for place in part.find(shard, np.arange(rows)).tolist()
    ]


@given(SHARDS, st.floats(0.0, 0.5))
def test_every_row_is_trained_on_or_held_out(shards: list[int], share: float) -> None:
    """Never both, and as many are held out as the share says, less than one row fewer."""
    trained, held = (rows_of(Part(tuple(shards), share, is_held_out)) for is_held_out in (False, True))

    assert sorted(trained + held) == [(shard, place) for shard, rows in enumerate(shards) for place in range(rows)]
    assert sum(shards) * share - 1 < len(held) <= sum(shards) * share


def test_small_shards_have_their_share_too() -> None:
    """A tenth of a hundred shards of three rows is thirty rows, though a tenth of three is none."""
    assert sum(Part((3,) * 100, 0.1, True).shard_rows) in (29, 30)


def test_no_step_of_an_epoch_has_a_held_out_row(tmp_path: Path) -> None:
    """The two loaders of a training give all of its rows between them, each once."""
    shards = (30, 0, 17, 53)
    starts = np.cumsum([0, *shards])

    def make(shard: int) -> TokenTable:
        numbers = np.arange(starts[shard], starts[shard + 1])
        return TokenTable.of([[number] for number in numbers.tolist()], numbers)

    def seen(*, is_held_out: bool) -> list[int]:
        tables = TokenTables(tmp_path / "tokens", make)
        plan = Plan(
            shard_rows=shards, batch_size=8, batch_by="rows", seed=3, held_out=0.2, is_held_out=is_held_out
        )  # fmt: skip
        loader = Loader(plan, tables)
        found = [label for step in range(loader.steps_per_epoch) for label in loader.batch(step).labels.tolist()]
        loader.close()
        return found

    trained, held = seen(is_held_out=False), seen(is_held_out=True)

    assert len(held) == 20
    assert sorted(trained + held) == list(range(100))
