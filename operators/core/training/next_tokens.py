"""Texts for a causal language model: it is asked of each place which token comes next."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from operators.core.errors import DataError
from operators.core.models.tags import UNTOLD
from operators.core.models.tokenising import encode_continued
from operators.core.training.job import TrainingJob
from operators.core.training.loader import Batch
from operators.core.training.permutation import Ints
from operators.core.training.tokens import TokenTable


class NextTokens:
    """Asks for the tokens of a row from the place on that its label names: what stands before is read, not told."""

    def counts(self, lengths: Ints, labels: Ints) -> Ints:
        """Return how many tokens rows are asked for, given their lengths and where that begins."""
        asked: Ints = lengths - labels
        return asked

    def __call__(self, batch: Batch, epoch: int, rows: Ints) -> Batch:
        """Return a batch in which each token's tag is the one behind it, where that is asked for."""
        following = np.full(len(batch.tokens), UNTOLD, dtype=np.int32)
        following[:-1] = batch.tokens[1:]
        begins = np.cumsum(batch.lengths) - batch.lengths
        # The places that the following tokens have in their rows.
        places = np.arange(1, len(batch.tokens) + 1) - np.repeat(begins, batch.lengths)
        first, size = (np.repeat(each, batch.lengths) for each in (batch.labels, batch.lengths))
        is_asked = (places >= first) & (places < size)
        return batch._replace(tags=np.where(is_asked, following, UNTOLD).astype(np.int32))


def continued(
    end: int, tokenizer: Tokenizer, texts: pa.StringArray, labels: pa.StringArray, job: TrainingJob
) -> TokenTable:
    """Return texts, each with an end behind it, and in place of labels where each is first asked for a token.

    Raises:
        DataError: None of the texts has an answer within the tokens that are kept.
    """
    after = job.loop.answers_after
    rows = encode_continued(tokenizer, texts.to_pylist(), job.loop.max_length, end, after)
    if after is not None and not any(row.first < len(row.ids) for row in rows):
        raise DataError(
            f"no answer behind {after!r} in the first {job.loop.max_length} tokens of {len(rows)} texts: correct "
            "answers_after, or raise max_length"
        )
    return TokenTable.of((row.ids for row in rows), np.array([row.first for row in rows], np.int64))
