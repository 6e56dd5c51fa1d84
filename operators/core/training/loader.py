"""Which rows make which step: a keyed permutation, so any step of any epoch is found without replaying the others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.core.errors import DataError

WINDOW_BATCHES = 50
"""Batches whose rows are sorted by length together: long enough for 3 % padding, short enough to stay well mixed."""

Ints = npt.NDArray[np.int64]


def keyed_order(count: int, key: str) -> Ints:
    """Return a permutation of 0..count-1 that follows from the key alone, on every machine and library version.

    Each index is mixed with the key by SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), then all are sorted by the
    result.
    """
    start = np.frombuffer(hashlib.sha256(key.encode()).digest()[:8], dtype="<u8")[0]
    state = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(state ^ (state >> np.uint64(31)), kind="stable")


def epoch_batches(lengths: Ints, batch_size: int, seed: int, epoch: int) -> list[Ints]:
    """Return an epoch's batches of row indices: every row in exactly one, rows of like length together.

    Args:
        lengths: Tokens of each row, shape (rows,).
        batch_size: Most rows of a batch, over all ranks; sizes differ by at most one within a window.
        seed: Key of the order, with the epoch.
        epoch: From 0.
    """
    order = keyed_order(len(lengths), f"rows:{seed}:{epoch}")
    batches: list[Ints] = []
    windows = np.array_split(order, max(1, -(-len(order) // (batch_size * WINDOW_BATCHES))))
    for window in windows:
        by_length = window[np.argsort(lengths[window], kind="stable")]
        batches += np.array_split(by_length, -(-len(by_length) // batch_size))
    return [batches[index] for index in keyed_order(len(batches), f"batches:{seed}:{epoch}")]


def rank_share(batch: Ints, rank: int, ranks: int) -> Ints:
    """Return the rows of a batch that one rank takes: every `ranks`-th, so that lengths are shared out evenly too."""
    return batch[rank::ranks]


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The tokenised training rows, one after the other, mapped from files so that ranks share one copy."""

    tokens: npt.NDArray[np.int32]
    """All rows' token numbers, shape (tokens,)."""
    offsets: Ints
    """Where each row starts, and the end of the last, shape (rows + 1,)."""
    labels: Ints
    """Label number of each row, shape (rows,)."""

    @classmethod
    def of(cls, rows: list[list[int]], labels: list[int]) -> TokenTable:
        """Lay out rows of token numbers."""
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        tokens = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=int(offsets[-1]))
        return cls(tokens, offsets, np.asarray(labels, dtype=np.int64))

    @property
    def lengths(self) -> Ints:
        """Tokens of each row, shape (rows,)."""
        return np.diff(self.offsets)

    def row(self, index: int) -> npt.NDArray[np.int32]:
        """Return one row's token numbers."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def save(self, folder: Path) -> None:
        """Write the table into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("tokens", "offsets", "labels"):
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> TokenTable:
        """Map the table that `save` wrote.

        Raises:
            DataError: There are fewer than two rows of it.
        """
        table = cls(
            *(
                np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("tokens", "offsets", "labels")
            )
        )
        if len(table.labels) < 2:
            raise DataError(f"{len(table.labels)} training rows are too few to train on")
        return table
