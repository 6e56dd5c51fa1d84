"""Texts that are a little different in every epoch: words left out, neighbours swapped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from operators.core.training.loader import Batch
from operators.core.training.permutation import Ints

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Augmenter:
    """Changes rows by word. What becomes of a row follows from seed, epoch and row: the same on any rank, at any retry.

    Args:
        begins_word: Whether a token begins a word, by token number.
        drop: Share of words that are left out; one at least stays.
        swap: Share of words that change places with the next one.
        seed: The training's.
    """

    def __init__(self, begins_word: npt.NDArray[np.bool_], *, drop: float, swap: float, seed: int) -> None:
        self._begins_word, self._drop, self._swap, self._seed = begins_word, drop, swap, seed

    def __call__(self, batch: Batch, epoch: int, rows: Ints) -> Batch:
        """Return a batch's rows, changed.

        Args:
            batch: Each row begins and ends with a special token, which stay.
            epoch: The epoch, from 0.
            rows: The number of each row, shape (rows,).
        """
        pieces = np.split(batch.tokens, np.cumsum(batch.lengths)[:-1])
        changed = [self._changed(piece, epoch, row) for piece, row in zip(pieces, rows.tolist(), strict=True)]
        return batch._replace(tokens=np.concatenate(changed), lengths=np.array([len(piece) for piece in changed]))

    def _changed(self, tokens: npt.NDArray[np.int32], epoch: int, row: int) -> npt.NDArray[np.int32]:
        inner = tokens[1:-1]
        # What a text begins with may be the rest of a word, where a text was cut: a word all the same.
        starts = np.flatnonzero(self._begins_word[inner[1:]]) + 1
        words = np.split(inner, starts)
        draw = np.random.default_rng((self._seed, epoch, row))
        kept = np.flatnonzero(draw.random(len(words)) >= self._drop)
        order = (kept if len(kept) else draw.integers(len(words), size=1)).tolist()
        for place in np.flatnonzero(draw.random(len(order) - 1) < self._swap).tolist():
            order[place], order[place + 1] = order[place + 1], order[place]
        return np.concatenate([tokens[:1], *(words[number] for number in order), tokens[-1:]])


def word_beginnings(tokenizer: Tokenizer) -> npt.NDArray[np.bool_]:
    """Return whether a token of a WordPiece tokenizer begins a word, by token number."""
    prefix = json.loads(tokenizer.to_str())["model"]["continuing_subword_prefix"]
    begins = np.ones(tokenizer.get_vocab_size(), dtype=np.bool_)
    begins[[number for word, number in tokenizer.get_vocab().items() if word.startswith(prefix)]] = False
    return begins
