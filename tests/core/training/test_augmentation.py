"""Augmented rows follow from seed, epoch and row alone, are made of the row's own words, and end as they ended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from operators.core.training.augmentation import Augmenter, word_beginnings
from operators.core.training.loader import Batch, Loader, Plan
from operators.core.training.tokens import TokenTable, TokenTables

CLS, SEP, PIECE = 1, 2, 3
"""Special tokens, and the one token that goes on with a word; numbers from 10 begin one."""
BEGINS = np.array([number != PIECE for number in range(100)])
ROW = st.builds(
    lambda first, rest: [first, *rest],
    st.integers(10, 99),
    st.lists(st.sampled_from([PIECE, *range(10, 100)]), max_size=30),
)


def batch_of(rows: list[list[int]]) -> Batch:
    """Return rows, each between its special tokens, as a batch."""
    table = TokenTable.of(([CLS, *row, SEP] for row in rows), np.zeros(len(rows), np.int64))
    return Batch(table.tokens, table.lengths, table.labels, len(rows))


def rows_of(batch: Batch) -> list[list[int]]:
    """Return a batch's rows."""
    return [piece.tolist() for piece in np.split(batch.tokens, np.cumsum(batch.lengths)[:-1])]


def words_of(row: list[int]) -> list[tuple[int, ...]]:
    """Return a row's words, special tokens apart."""
    words: list[list[int]] = []
    for token in row[1:-1]:
        if token == PIECE and words:
            words[-1].append(token)
        else:
            words.append([token])
    return [tuple(word) for word in words]


@given(rows=st.lists(ROW, min_size=1, max_size=8), drop=st.floats(0, 0.5), swap=st.floats(0, 0.5))
def test_rows_are_made_of_their_own_words(rows: list[list[int]], drop: float, swap: float) -> None:
    """No word is broken, doubled or made up, one at least stays, and without drops all do."""
    batch = batch_of(rows)
    changed = Augmenter(BEGINS, drop=drop, swap=swap, seed=0)(batch, 0, np.arange(len(rows)))

    for before, after in zip(rows_of(batch), rows_of(changed), strict=True):
        left = words_of(before)
        assert (after[0], after[-1]) == (CLS, SEP)
        assert words_of(after)
        for word in words_of(after):
            left.remove(word)
        assert drop or not left


def test_a_row_changes_the_same_way_in_any_company() -> None:
    """Alone or in a batch, asked once or twice; another epoch, row or seed changes it otherwise."""
    rows = [list(range(10, 60))] * 3
    augment = Augmenter(BEGINS, drop=0.2, swap=0.2, seed=7)
    whole = rows_of(augment(batch_of(rows), 1, np.array([5, 6, 7])))
    others = [augment(batch_of(rows[:1]), 2, np.array([5])), augment(batch_of(rows[:1]), 1, np.array([8]))]
    others.append(Augmenter(BEGINS, drop=0.2, swap=0.2, seed=8)(batch_of(rows[:1]), 1, np.array([5])))

    assert rows_of(augment(batch_of(rows[:1]), 1, np.array([6]))) == [whole[1]]
    assert len({tuple(row) for row in [*whole, *(rows_of(other)[0] for other in others)]}) == 6


def test_as_many_words_change_as_asked_for() -> None:
    """A fifth is dropped; of what stays, a fifth starts a swap."""
    rows = [list(range(10, 100))] * 200
    dropped = Augmenter(BEGINS, drop=0.2, swap=0.0, seed=0)(batch_of(rows), 0, np.arange(200))
    swapped = rows_of(Augmenter(BEGINS, drop=0.0, swap=0.2, seed=0)(batch_of(rows), 0, np.arange(200)))

    assert dropped.lengths.mean() == pytest.approx(2 + 0.8 * 90, rel=0.02)
    moved = np.mean([np.not_equal(row[1:-1], rows[0]).mean() for row in swapped])
    assert 0.25 < moved < 0.4


def test_words_are_told_by_the_tokenizer() -> None:
    """A piece that goes on with a word begins none."""
    tokenizer = Tokenizer(WordPiece({"[UNK]": 0, "play": 1, "##ing": 2, "#": 3, "##s": 4}, unk_token="[UNK]"))

    assert word_beginnings(tokenizer).tolist() == [True, True, False, True, False]


def test_ranks_change_a_row_alike(tmp_path: Path) -> None:
    """One rank of one and the second of two see the same row, changed in the same way."""
    tables = {n: [CLS, *range(10, 60), SEP] for n in range(16)}

    def loader(rank: int, ranks: int) -> Loader:
        plan = Plan(shard_rows=(16,), batch_size=8, batch_by="rows", seed=3)
        made = TokenTables(tmp_path, lambda shard: TokenTable.of(tables.values(), np.zeros(16, np.int64)))
        return Loader(plan, made, rank, ranks, Augmenter(BEGINS, drop=0.3, swap=0.3, seed=3))

    alone, second = loader(0, 1), loader(1, 2)
    for step in (0, 1, 2, 3):
        assert rows_of(alone.batch(step))[1::2] == rows_of(second.batch(step))
    assert rows_of(alone.batch(0)) != rows_of(alone.batch(2))
    alone.close()
    second.close()
