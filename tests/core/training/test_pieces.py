"""A rank's share is cut into pieces no larger than a micro-batch, as many at every rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from operators.core.training.loader import Batch  # noqa: E402
from operators.core.training.pieces import pieces  # noqa: E402

CPU = torch.device("cpu")


def shares(lengths: list[int], ranks: int) -> list[Batch]:
    """Return each rank's share of a batch whose n-th row is as many tokens of number n + 1, and has label n."""
    order = np.argsort(lengths, kind="stable")
    return [
        Batch(
            np.concatenate([np.full(lengths[row], row + 1, np.int32) for row in order[rank::ranks]]),
            np.array([lengths[row] for row in order[rank::ranks]], dtype=np.int64),
            order[rank::ranks].astype(np.int64),
            len(lengths),
        )
        for rank in range(ranks)
    ]


@given(st.integers(1, 4), st.data())
def test_every_row_lies_in_one_piece(ranks: int, data: st.DataObject) -> None:
    """With its own tokens and label, in a piece of at most so many rows; and every rank has as many pieces."""
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=ranks, max_size=30))
    most_rows = data.draw(st.none() | st.integers(2, 8))
    cut = [list(pieces(share, ranks, most_rows, CPU)) for share in shares(lengths, ranks)]
    labels = [label for share in cut for piece in share for label in piece.labels.tolist()]

    assert sorted(labels) == list(range(len(lengths)))
    assert len({len(share) for share in cut}) == 1
    for piece in (piece for share in cut for piece in share):
        assert 1 <= len(piece.labels) <= (most_rows or len(lengths))
        for ids, mask, label in zip(piece.ids, piece.mask, piece.labels, strict=True):
            assert ids.tolist() == [label + 1] * lengths[label] + [0] * (len(ids) - lengths[label])
            assert mask.sum() == lengths[label]


def test_a_piece_is_no_wider_than_its_longest_row() -> None:
    """Rows come by length, so the short ones' piece has no padding for the long ones."""
    (share,) = shares([2, 2, 9, 9], 1)

    assert [piece.ids.shape for piece in pieces(share, 1, 2, CPU)] == [(2, 2), (2, 9)]
