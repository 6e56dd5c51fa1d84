"""Which of a data set's training rows are held out: no step trains on them, and each epoch is judged by them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from operators.core.training.permutation import Ints, KeyedPermutation


@dataclass(frozen=True)
class Part:
    """The rows of a data set that are trained on, or those that are held out.

    They are drawn by shard and place, so how many there are is known before any shard is read; and whatever the seed,
    so that two seeds are judged by the same rows.
    """

    whole_rows: tuple[int, ...]
    """Rows of each shard."""
    share: float
    """Of all rows held out, 0 <= share < 1."""
    is_held_out: bool
    """Which of the two."""

    @functools.cached_property
    def shard_rows(self) -> tuple[int, ...]:
        """Rows of each shard that belong to this part."""
        # From where a shard begins among all rows to where it ends, so that many small ones have their share too.
        edges = np.concatenate([[0], np.cumsum(self.whole_rows)]) * self.share
        held = np.diff(np.floor(edges)).astype(np.int64).tolist()
        return tuple(out if self.is_held_out else rows - out for rows, out in zip(self.whole_rows, held, strict=True))

    def find(self, shard: int, numbers: Ints) -> Ints:
        """Return where in a shard rows of this part lie, given their numbers there, from 0."""
        if not self.share:
            return numbers
        rows = self.whole_rows[shard]
        skipped = 0 if self.is_held_out else rows - self.shard_rows[shard]
        return KeyedPermutation(rows, f"held out:{shard}").at(numbers + skipped)
