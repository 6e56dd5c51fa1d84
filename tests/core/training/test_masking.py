"""A masked language model is asked for hidden tokens, the same ones at every try, by any number of ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.errors import DataError
from operators.core.models.tags import UNTOLD
from operators.core.training.loader import Loader, Plan
from operators.core.training.masking import Masker
from operators.core.training.tokens import TokenTable, TokenTables

MASK_ID, VOCABULARY = 4, 64
SPECIAL = 2


def _loader(folder: Path, lengths: list[int], *, share: float = 0.15, rank: int = 0, ranks: int = 1) -> Loader:
    rows = [[SPECIAL, *range(5, 5 + length), SPECIAL] for length in lengths]
    tables = TokenTables(folder / "tokens", lambda shard: TokenTable.of(rows, np.zeros(len(rows), np.int64)))
    plan = Plan(shard_rows=(len(rows),), batch_size=4, batch_by="rows", seed=0)
    return Loader(plan, tables, rank, ranks, ask=Masker(MASK_ID, VOCABULARY, share=share, seed=3))


@given(lengths=st.lists(st.integers(0, 30), min_size=4, max_size=12), share=st.sampled_from([0.01, 0.15, 0.5]))
def test_a_row_is_asked_for_its_share_and_keeps_all_else(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], share: float
) -> None:
    """One token at least, never a special one; what is asked for is what stood there, and nothing else has changed."""
    loader = _loader(tmp_path_factory.mktemp("rows"), lengths, share=share)
    for step in range(loader.steps_per_epoch):
        batch = loader.batch(step)
        rows = zip(
            *(np.split(every, np.cumsum(batch.lengths)[:-1]) for every in (batch.tokens, batch.tags)), strict=True
        )
        counts = []
        for tokens, tags in rows:
            asked = np.flatnonzero(tags != UNTOLD)
            before = np.concatenate([[SPECIAL], np.arange(5, 5 + len(tokens) - 2), [SPECIAL]])
            told = np.where(tags == UNTOLD, tokens, tags)
            counts.append(len(asked))

            assert told.tolist() == before.tolist()
            assert not {0, len(tokens) - 1} & set(asked.tolist())
            assert len(asked) == (max(1, round(share * (len(tokens) - 2))) if len(tokens) > 2 else 0)
        assert batch.asked == sum(counts)


def test_ranks_hide_what_one_process_hides_and_know_how_many(tmp_path: Path) -> None:
    """Each row is the same whoever has it; all ranks divide by the number that all are asked for."""
    lengths = [3, 9, 20, 4, 17, 8, 30, 12]
    alone = _loader(tmp_path / "1", lengths)
    gang = [_loader(tmp_path / "2", lengths, rank=rank, ranks=2) for rank in range(2)]
    for step in range(2 * alone.steps_per_epoch):
        whole, shares = alone.batch(step), [one.batch(step) for one in gang]
        rows = np.split(whole.tokens, np.cumsum(whole.lengths)[:-1])

        assert [one.asked for one in shares] == [whole.asked] * 2
        assert [one.tokens.tolist() for one in shares] == [np.concatenate(rows[rank::2]).tolist() for rank in range(2)]


def test_four_fifths_become_the_mask_and_a_tenth_stays(tmp_path: Path) -> None:
    """Of many tokens; another tenth becomes any token, and every epoch asks for others."""
    loader = _loader(tmp_path, [200] * 400, share=0.5)
    steps = loader.steps_per_epoch
    batches = [loader.batch(step) for step in range(steps)]
    tokens, tags = (np.concatenate([getattr(one, name) for one in batches]) for name in ("tokens", "tags"))
    asked = tags != UNTOLD
    share = asked.sum()

    assert (tokens[asked] == MASK_ID).sum() / share == pytest.approx(0.8 + 0.1 / VOCABULARY, abs=0.01)
    assert (tokens[asked] == tags[asked]).sum() / share == pytest.approx(0.1, abs=0.01)
    assert loader.batch(0).tags.tolist() == batches[0].tags.tolist() != loader.batch(steps).tags.tolist()


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    """Its model was not pre-trained in this way."""
    from tokenizers import Tokenizer, models

    with pytest.raises(DataError, match=r"no \[MASK\]"):
        Masker.of(Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]")), share=0.15, seed=0)
