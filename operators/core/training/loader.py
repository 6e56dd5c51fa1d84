"""The loader: from shards in the store to the rows of any step, at once, by as many ranks as there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operators.core.training.order import EpochOrder, Windows, cut_window
from operators.core.training.permutation import Ints
from operators.core.training.spec import BatchBy
from operators.core.training.tokens import TokenTables


class Batch(NamedTuple):
    """One rank's share of a step's rows."""

    tokens: list[npt.NDArray[np.int32]]
    """Token numbers of each row."""
    labels: Ints
    """Label numbers, shape (rows,)."""
    size: int
    """Rows of the whole batch, over all ranks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What decides which rows make which step: the same for every rank, and for any number of them."""

    shard_rows: tuple[int, ...]
    batch_size: int
    batch_by: BatchBy
    seed: int


class Loader:
    """The rows of every step. Where a run stands is the step's number and nothing else, so any step may come next.

    Args:
        plan: Which rows make which step.
        tables: The shards' rows.
        rank: Which share of a batch to give: every `ranks`-th row, so that lengths are shared out evenly too.
        ranks: How many share a batch.
    """

    def __init__(self, plan: Plan, tables: TokenTables, rank: int = 0, ranks: int = 1) -> None:
        self._plan, self._tables, self._rank, self._ranks = plan, tables, rank, ranks
        self._windows = Windows(sum(plan.shard_rows), plan.batch_size)
        self._starts = np.concatenate([[0], np.cumsum(plan.shard_rows)]).astype(np.int64)
        self._order: tuple[int, EpochOrder] | None = None
        self._window: tuple[tuple[int, int], list[Ints]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches of every epoch."""
        return self._windows.steps

    def close(self) -> None:
        """Read no further ahead."""
        self._tables.close()

    def batch(self, step: int) -> Batch:
        """Return this rank's rows of a step, counted over all epochs; waits only for shards that hold some of them."""
        rows = self.rows(step)
        own = rows[self._rank :: self._ranks]
        shards, places = self._locate(own)
        tables = [self._tables.table(shard) for shard in shards.tolist()]
        tokens = [table.row(place) for table, place in zip(tables, places.tolist(), strict=True)]
        labels = np.array([table.labels[place] for table, place in zip(tables, places, strict=True)], dtype=np.int64)
        return Batch(tokens, labels, len(rows))

    def rows(self, step: int) -> Ints:
        """Return the numbers of a step's rows, of all ranks; rows are counted through all shards."""
        epoch, index = divmod(step, self.steps_per_epoch)
        window, number = self._windows.find(index)
        if self._window is None or self._window[0] != (epoch, window):
            self._window = (epoch, window), self._cut(epoch, window)
        return self._window[1][number]

    def _cut(self, epoch: int, window: int) -> list[Ints]:
        rows = self._epoch(epoch).rows_at(self._windows.positions(window))
        shards, places = self._locate(rows)
        lengths = np.empty_like(rows)
        for shard in np.unique(shards).tolist():
            own, table = shards == shard, self._tables.table(shard)
            lengths[own] = table.offsets[places[own] + 1] - table.offsets[places[own]]
        key = f"batches:{self._plan.seed}:{epoch}:{window}"
        return cut_window(rows, lengths, self._windows.batches(window), self._plan.batch_by, key)

    def _epoch(self, epoch: int) -> EpochOrder:
        if self._order is None or self._order[0] != epoch:
            is_first = self._order is None
            self._order = epoch, EpochOrder(self._plan.shard_rows, self._plan.seed, epoch)
            if is_first:
                self._tables.prefetch(self._order[1].shards)
        return self._order[1]

    def _locate(self, rows: Ints) -> tuple[Ints, Ints]:
        """Return the shard of each row, and its place there."""
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        return shards, rows - self._starts[shards]
