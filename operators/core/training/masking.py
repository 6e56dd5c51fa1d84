"""Texts with tokens hidden, for a masked language model to tell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from operators.core.errors import DataError
from operators.core.models.tags import UNTOLD
from operators.core.training.loader import Batch
from operators.core.training.permutation import Ints

MASK = "[MASK]"
HIDDEN, REPLACED = 0.8, 0.1
"""Shares of the tokens asked for that become the mask, or any token; the others stay, as in BERT (arXiv 1810.04805)."""


class Masker:
    """Hides tokens of rows. Which ones follows from seed, epoch and row: the same on any rank, at any retry.

    Of every row as many are asked for as its length says, one at least: so each rank knows how many all are asked for.

    Args:
        mask_id: The mask's token number.
        vocabulary: Tokens that there are.
        share: Of a row's tokens, special ones apart, that are asked for.
        seed: The training's.
    """

    def __init__(self, mask_id: int, vocabulary: int, *, share: float, seed: int) -> None:
        self._mask_id, self._vocabulary, self._share, self._seed = mask_id, vocabulary, share, seed

    @classmethod
    def of(cls, tokenizer: Tokenizer, *, share: float, seed: int) -> Masker:
        """Return one for a tokenizer's tokens.

        Raises:
            DataError: It has no mask.
        """
        mask_id = tokenizer.token_to_id(MASK)
        if mask_id is None:
            raise DataError(f"the base model's tokenizer has no {MASK}: it cannot be pre-trained by hiding tokens")
        return cls(mask_id, tokenizer.get_vocab_size(), share=share, seed=seed)

    def __call__(self, batch: Batch, epoch: int, rows: Ints) -> Batch:
        """Return a batch with tokens hidden, and what they were as tags.

        Args:
            batch: Each row begins and ends with a special token, which stay.
            epoch: The epoch, from 0.
            rows: The number of each row, shape (rows,).
        """
        tokens = batch.tokens.copy()
        tags = np.full(len(tokens), UNTOLD, dtype=np.int32)
        begins = np.cumsum(batch.lengths) - batch.lengths
        counts = self.counts(batch.lengths, batch.labels)
        for begin, length, count, row in zip(begins, batch.lengths, counts, rows.tolist(), strict=True):
            draw = np.random.default_rng((self._seed, epoch, row))
            places = begin + 1 + draw.permutation(max(0, length - 2))[:count]
            tags[places] = tokens[places]
            fate, others = draw.random(count), draw.integers(self._vocabulary, size=count)
            tokens[places] = np.select(
                [fate < HIDDEN, fate < HIDDEN + REPLACED], [np.full(count, self._mask_id), others], tokens[places]
            )
        return batch._replace(tokens=tokens, tags=tags)

    def counts(self, lengths: Ints, labels: Ints) -> npt.NDArray[np.int64]:
        """Return how many tokens rows are asked for, given their lengths."""
        inner = np.maximum(lengths - 2, 0)
        return np.where(inner, np.maximum(1, np.rint(self._share * inner)), 0).astype(np.int64)
