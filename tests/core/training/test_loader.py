"""The loader places every row once, and follows from its key alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.errors import DataError
from operators.core.training.loader import TokenTable, epoch_batches, keyed_order, rank_share


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 128), min_size=8, max_size=900),
    batch_size=st.integers(8, 40),
    ranks=st.integers(1, 4),
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 50),
)
def test_every_row_of_an_epoch_goes_to_exactly_one_rank_in_one_step(
    lengths: list[int], batch_size: int, ranks: int, seed: int, epoch: int
) -> None:
    """Over all steps and ranks each row occurs once, no batch is too large and no rank is ever left without a row."""
    batches = epoch_batches(np.array(lengths), batch_size, seed, epoch)
    shares = [rank_share(batch, rank, ranks) for batch in batches for rank in range(ranks)]

    assert sorted(np.concatenate(shares)) == list(range(len(lengths)))
    assert max(len(batch) for batch in batches) <= batch_size
    assert min(len(share) for share in shares) >= 1


def test_steps_of_an_epoch_do_not_depend_on_the_epoch() -> None:
    """Position and epoch follow from the step number alone because every epoch has as many steps."""
    lengths = np.arange(2, 2602) % 126 + 2
    steps = {len(epoch_batches(lengths, 32, 7, epoch)) for epoch in range(5)}

    assert len(steps) == 1


def test_epochs_and_seeds_give_different_orders() -> None:
    """The order of rows is drawn anew for each epoch and each seed."""
    orders = {tuple(keyed_order(100, f"rows:{seed}:{epoch}")) for seed in range(3) for epoch in range(3)}

    assert len(orders) == 9


def split_mix(state: int) -> int:
    """SplitMix64's output function on whole numbers, as its authors published it."""
    mask = 2**64 - 1
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & mask
    return state ^ (state >> 31)


def test_the_order_is_that_of_the_published_generator() -> None:
    """Row i is ranked by the i-th number of SplitMix64 whose state begins at the key's SHA-256."""
    start = int.from_bytes(hashlib.sha256(b"rows:0:0").digest()[:8], "little")
    numbers = [split_mix((start + (i + 1) * 0x9E3779B97F4A7C15) % 2**64) for i in range(200)]

    assert keyed_order(200, "rows:0:0").tolist() == sorted(range(200), key=numbers.__getitem__)
    assert keyed_order(8, "rows:0:0").tolist() == [6, 3, 7, 5, 2, 0, 1, 4]


def test_batches_hold_rows_of_like_length() -> None:
    """Sorting within windows keeps padding below a tenth of the tokens where random batches would waste far more."""
    lengths = np.random.default_rng(0).integers(8, 129, 3200)
    batches = epoch_batches(lengths, 32, 0, 0)
    padded = sum(int(lengths[batch].max()) * len(batch) for batch in batches)

    assert padded < 1.1 * lengths.sum()


def test_a_token_table_reads_back_what_was_saved(tmp_path: Path) -> None:
    """Rows of any length come back as they were, mapped from files."""
    rows = [[1, 2, 3], [4], [5, 6]]
    TokenTable.of(rows, [0, 1, 0]).save(tmp_path)
    table = TokenTable.load(tmp_path)

    assert [table.row(i).tolist() for i in range(3)] == rows
    assert table.lengths.tolist() == [3, 1, 2]
    assert table.labels.tolist() == [0, 1, 0]


def test_a_single_row_is_refused(tmp_path: Path) -> None:
    """One row cannot train anything, and says so."""
    TokenTable.of([[1]], [0]).save(tmp_path)

    with pytest.raises(DataError, match="too few"):
        TokenTable.load(tmp_path)
