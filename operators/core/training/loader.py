"""The loader: from shards in the store to the rows of any step, at once, by as many ranks as there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from operators.core.models.tags import UNTOLD
from operators.core.training.held_out import Part
from operators.core.training.order import EpochOrder, Windows, cut_window
from operators.core.training.permutation import Ints
from operators.core.training.spec import BatchBy
from operators.core.training.tokens import TokenTables

if TYPE_CHECKING:
    from operators.core.training.augmentation import Augmenter


class Batch(NamedTuple):
    """One rank's share of a step's rows."""

    tokens: npt.NDArray[np.int32]
    """Token numbers of all its rows, one row after the other."""
    lengths: Ints
    """Tokens of each row, shape (rows,)."""
    labels: Ints
    """Label numbers, shape (rows,)."""
    size: int
    """Rows of the whole batch, over all ranks."""
    tags: npt.NDArray[np.integer[Any]] = np.empty(0, np.int16)
    """Of a token classification the tags of all its rows, of a language model the tokens asked for, row after row."""
    asked: int | None = None
    """Of a language model the tokens that the whole batch is asked for, over all ranks."""

    @property
    def answers(self) -> int:
        """What the mean loss is a mean of, over all ranks: rows, or a language model's tokens."""
        return self.size if self.asked is None else max(1, self.asked)

    def padded(self) -> tuple[Ints, Ints]:
        """Return token numbers and attention mask, both of shape (rows, longest row)."""
        is_token = np.arange(self.lengths.max()) < self.lengths[:, None]
        ids = np.zeros(is_token.shape, dtype=np.int64)
        ids[is_token] = self.tokens
        return ids, is_token.astype(np.int64)

    def targets(self) -> Ints:
        """Return what is to be told of the rows: labels, shape (rows,), or tags, shape (rows, longest row)."""
        if not len(self.tags):
            return self.labels
        is_token = np.arange(self.lengths.max()) < self.lengths[:, None]
        tags = np.full(is_token.shape, UNTOLD, dtype=np.int64)
        tags[is_token] = self.tags
        return tags


class Asker(Protocol):
    """Says of which tokens of its rows a language model is asked."""

    def counts(self, lengths: Ints, labels: Ints) -> Ints:
        """Return how many rows are asked for, given their lengths and labels; any rank can say so of all rows."""

    def __call__(self, batch: Batch, epoch: int, rows: Ints) -> Batch:
        """Return a rank's share of a batch with what its tokens are asked for as tags."""


class _Window(NamedTuple):
    """A window's rows: where each lies, and which make which batch."""

    key: tuple[int, int]
    """Epoch and number."""
    rows: Ints
    batches: list[Ints]
    """Positions in `rows` and in those below."""
    shards: Ints
    begins: Ints
    """Of its tokens in its shard's table."""
    ends: Ints
    labels: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What decides which rows make which step: the same for every rank, and for any number of them."""

    shard_rows: tuple[int, ...]
    batch_size: int
    batch_by: BatchBy
    seed: int
    held_out: float = 0.0
    """Share of all rows that are held out."""
    is_held_out: bool = False
    """Whether the steps are of these, instead of the others."""


class Loader:
    """The rows of every step. Where a run stands is the step's number and nothing else, so any step may come next.

    Args:
        plan: Which rows make which step.
        tables: The shards' rows.
        rank: Which share of a batch to give: every `ranks`-th row, so that lengths are shared out evenly too.
        ranks: How many share a batch.
        augment: Changes the rows of a batch.
        ask: Says which tokens of its rows a language model has to tell.
    """

    def __init__(
        self,
        plan: Plan,
        tables: TokenTables,
        rank: int = 0,
        ranks: int = 1,
        augment: Augmenter | None = None,
        ask: Asker | None = None,
    ) -> None:
        self._plan, self._tables, self._rank, self._ranks = plan, tables, rank, ranks
        self._augment, self._ask = augment, ask
        self._part = part = Part(plan.shard_rows, plan.held_out, plan.is_held_out)
        self._windows = Windows(sum(part.shard_rows), plan.batch_size)
        self._starts = np.concatenate([[0], np.cumsum(part.shard_rows)]).astype(np.int64)
        self._order: tuple[int, EpochOrder] | None = None
        self._window: _Window | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches of every epoch."""
        return self._windows.steps

    def close(self) -> None:
        """Read no further ahead."""
        self._tables.close()

    def batch(self, step: int) -> Batch:
        """Return this rank's rows of a step, counted over all epochs; waits only for shards that hold some of them."""
        window, number = self._find(step)
        whole = window.batches[number]
        own = whole[self._rank :: self._ranks]
        begins, ends = window.begins[own], window.ends[own]
        # Slices joined as bytes: where rows have some dozens of tokens, 40 % of the time of slices of arrays, or of one
        # gather by index.
        shards = window.shards[own].tolist()
        tables = {shard: self._tables.table(shard) for shard in set(shards)}
        spans = list(zip(shards, begins.tolist(), ends.tolist(), strict=True))
        tokens = _joined({shard: table.tokens.data for shard, table in tables.items()}, spans, np.int32)
        tags = np.empty(0, np.int16)
        if len(tables[shards[0]].tags):
            tags = _joined({shard: table.tags.data for shard, table in tables.items()}, spans, np.int16)
        batch = Batch(tokens, ends - begins, window.labels[own], len(whole), tags)
        if self._ask is not None:
            asked = self._ask.counts(window.ends[whole] - window.begins[whole], window.labels[whole])
            return self._ask(batch._replace(asked=int(asked.sum())), window.key[0], window.rows[own])
        return batch if self._augment is None else self._augment(batch, window.key[0], window.rows[own])

    def rows(self, step: int) -> Ints:
        """Return the numbers of a step's rows, of all ranks; the part's rows are counted through all shards."""
        window, number = self._find(step)
        return window.rows[window.batches[number]]

    def _find(self, step: int) -> tuple[_Window, int]:
        epoch, index = divmod(step, self.steps_per_epoch)
        window, number = self._windows.find(index)
        if self._window is None or self._window.key != (epoch, window):
            self._window = self._cut(epoch, window)
        return self._window, number

    def _cut(self, epoch: int, number: int) -> _Window:
        rows = self._epoch(epoch).rows_at(self._windows.positions(number))
        key = f"batches:{self._plan.seed}:{epoch}:{number}"
        shards, begins, ends, labels = self._spans(rows)
        batches = cut_window(ends - begins, self._windows.batches(number), self._plan.batch_by, key)
        return _Window((epoch, number), rows, batches, shards, begins, ends, labels)

    def _spans(self, rows: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Return of each row its shard, where its tokens begin and end there, and its label."""
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        places = rows - self._starts[shards]
        begins, ends, labels = np.empty_like(rows), np.empty_like(rows), np.empty_like(rows)
        for shard in np.flatnonzero(np.bincount(shards)).tolist():
            own, table = np.flatnonzero(shards == shard), self._tables.table(shard)
            found = self._part.find(shard, places[own])
            begins[own], ends[own] = table.offsets[found], table.offsets[found + 1]
            labels[own] = table.labels[found]
        return shards, begins, ends, labels

    def _epoch(self, epoch: int) -> EpochOrder:
        if self._order is None or self._order[0] != epoch:
            is_first = self._order is None
            self._order = epoch, EpochOrder(self._part.shard_rows, self._plan.seed, epoch)
            if is_first:
                self._tables.prefetch(self._order[1].shards)
        return self._order[1]


def _joined(
    views: Mapping[int, memoryview], spans: Iterable[tuple[int, int, int]], kind: type[np.integer[Any]]
) -> npt.NDArray[Any]:
    """Return pieces of arrays one after the other; a span names an array, and where in it a piece begins and ends."""
    return np.frombuffer(b"".join([views[name][begin:end] for name, begin, end in spans]), kind)
