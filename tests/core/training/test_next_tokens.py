"""A causal language model is asked of each place which token comes next, by any number of ranks the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.models.tags import UNTOLD
from operators.core.training.loader import Loader, Plan
from operators.core.training.next_tokens import NextTokens
from operators.core.training.tokens import TokenTable, TokenTables

Row = tuple[list[int], int]


def _loader(folder: Path, rows: list[Row], rank: int = 0, ranks: int = 1) -> Loader:
    firsts = np.array([first for _, first in rows], np.int64)
    tables = TokenTables(folder / "tokens", lambda shard: TokenTable.of([ids for ids, _ in rows], firsts))
    plan = Plan(shard_rows=(len(rows),), batch_size=4, batch_by="rows", seed=0)
    return Loader(plan, tables, rank, ranks, ask=NextTokens())


ROWS = st.lists(
    st.lists(st.integers(0, 50_000), min_size=1, max_size=9).flatmap(
        lambda ids: st.tuples(st.just(ids), st.integers(1, len(ids)))
    ),
    min_size=4,
    max_size=12,
)


@given(rows=ROWS)
def test_a_place_is_asked_for_what_stands_behind_it(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    """From the row's first answer on, never across two rows, and the batch says of how many tokens it asks."""
    loader = _loader(tmp_path_factory.mktemp("rows"), rows)
    for step in range(loader.steps_per_epoch):
        batch = loader.batch(step)
        expected: list[int] = []
        for number in loader.rows(step):
            ids, first = rows[number]
            expected += [ids[place + 1] if first <= place + 1 < len(ids) else UNTOLD for place in range(len(ids))]

        assert batch.tags.tolist() == expected
        assert batch.asked == sum(tag != UNTOLD for tag in expected)


@given(rows=ROWS)
def test_ranks_know_how_many_tokens_all_are_asked_for(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    """Each divides by what all are asked for, so that their gradients' mean is that of one process."""
    folder = tmp_path_factory.mktemp("rows")
    gang = [_loader(folder, rows, rank, 2) for rank in range(2)]
    for step in range(gang[0].steps_per_epoch):
        shares = [one.batch(step) for one in gang]

        assert [one.asked for one in shares] == [sum(int((one.tags != UNTOLD).sum()) for one in shares)] * 2
