"""Which rows make which step: found from (seed, epoch, step) alone, whatever was read before and however many read.

Rows are shuffled in blocks of whole shards: an epoch draws the order of the shards, then the order of the rows of a
block, so that training begins when the first block is there. Data of up to `BLOCK_ROWS` rows is one block.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from operators.core.training.permutation import Ints, KeyedPermutation
from operators.core.training.spec import BatchBy

BLOCK_ROWS = 1 << 20
WINDOW_BATCHES = 50
"""Batches whose rows are sorted by length together: long enough for 3 % padding, short enough to stay well mixed."""


class Windows:
    """How the positions of an epoch, 0..rows-1, are cut into windows and these into batches; equal in every epoch."""

    def __init__(self, rows: int, batch_size: int) -> None:
        count = max(1, -(-rows // (batch_size * WINDOW_BATCHES)))
        self._edges = rows * np.arange(count + 1, dtype=np.int64) // count
        self._batches = -(-np.diff(self._edges) // batch_size)
        self._steps = np.cumsum(self._batches)

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return int(self._steps[-1])

    def find(self, step: int) -> tuple[int, int]:
        """Return the window of an epoch's step, and the step's number within it."""
        window = int(np.searchsorted(self._steps, step, side="right"))
        return window, step - int(self._steps[window] - self._batches[window])

    def positions(self, window: int) -> Ints:
        """Return a window's positions."""
        return np.arange(self._edges[window], self._edges[window + 1])

    def batches(self, window: int) -> int:
        """Return how many batches a window has."""
        return int(self._batches[window])


class EpochOrder:
    """The rows of an epoch in their order.

    Args:
        shard_rows: Rows of each shard. Row numbers count through all shards.
        seed: Key of the order, with the epoch.
        epoch: From 0.
    """

    def __init__(self, shard_rows: Sequence[int], seed: int, epoch: int) -> None:
        rows = np.asarray(shard_rows, dtype=np.int64)
        self.shards = KeyedPermutation(len(rows), f"shards:{seed}:{epoch}").at(np.arange(len(rows)))
        """Shards in the order in which they are needed."""
        self._starts = np.concatenate([[0], np.cumsum(rows)])[self.shards]
        self._ends = np.cumsum(rows[self.shards])
        self._blocks = _block_edges(self._ends)
        self._permutations = [
            KeyedPermutation(int(end - start), f"rows:{seed}:{epoch}:{number}")
            for number, (start, end) in enumerate(zip(self._blocks, self._blocks[1:], strict=False))
        ]

    def rows_at(self, positions: Ints) -> Ints:
        """Return the rows at ascending positions."""
        blocks = np.searchsorted(self._blocks, positions, side="right") - 1
        places = np.empty_like(positions)
        for block in np.unique(blocks):
            own = blocks == block
            start = self._blocks[block]
            places[own] = start + self._permutations[block].at(positions[own] - start)
        shards = np.searchsorted(self._ends, places, side="right")
        begins = np.concatenate([np.zeros(1, np.int64), self._ends])
        rows: Ints = self._starts[shards] + places - begins[shards]
        return rows


def _block_edges(ends: Ints) -> Ints:
    """Return where blocks begin, and the end of the last: each of whole shards, with `BLOCK_ROWS` rows at least."""
    edges = [0]
    for end in ends.tolist():
        if end - edges[-1] >= BLOCK_ROWS:
            edges.append(end)
    # What is left is too little for a block of its own.
    return np.array([*(edges[:-1] if len(edges) > 1 else edges), int(ends[-1])], dtype=np.int64)


def cut_window(lengths: Ints, batches: int, by: BatchBy, key: str) -> list[Ints]:
    """Return a window's batches as positions in it, rows of like length together, in an order drawn by the key.

    Args:
        lengths: Tokens of each of the window's rows, shape (rows,).
        batches: How many to make.
        by: `rows`: as many rows in each, one more or less; `tokens`: as many tokens in each, as far as rows go.
        key: Of the order of the batches.
    """
    order = np.argsort(lengths, kind="stable")
    cuts = _cuts_by_tokens(lengths[order], batches) if by == "tokens" else batches
    made = np.array_split(order, cuts)
    return [made[number] for number in KeyedPermutation(batches, key).at(np.arange(batches))]


def _cuts_by_tokens(lengths: Ints, batches: int) -> Ints:
    """Return where to cut rows of ascending length, so that pieces have equal tokens and none is short of rows."""
    least = max(1, len(lengths) // batches // 2)
    total = np.cumsum(lengths)
    wanted = np.searchsorted(total, total[-1] * np.arange(1, batches) / batches) + 1
    # Cuts at least `least` apart, from either end.
    steps = least * np.arange(1, batches)
    forward = np.maximum.accumulate(np.maximum(wanted - steps, 0)) + steps
    latest = len(lengths) - steps[::-1]
    return np.minimum(forward, latest)
