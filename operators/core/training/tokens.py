"""Shards as tables of token numbers on the local disk: made when first needed, by whichever rank comes first."""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.core.errors import NightshiftError
from operators.core.training.permutation import Ints

log = logging.getLogger(__name__)
_ARRAYS = ("tokens", "offsets", "labels", "tags")


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Tokenised rows, one after the other, mapped from files so that ranks share one copy."""

    tokens: npt.NDArray[np.int32]
    """All rows' token numbers, shape (tokens,)."""
    offsets: Ints
    """Where each row starts, and the end of the last, shape (rows + 1,)."""
    labels: Ints
    """Label number of each row, shape (rows,); 0 where its tokens have tags. Of a causal language model the place of
    the first token that it is asked for."""
    tags: npt.NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16))
    """Tag of each token, shape (tokens,); shape (0,) where rows have labels."""

    @classmethod
    def of(cls, rows: Iterable[list[int]], labels: Ints) -> TokenTable:
        """Lay out rows of token numbers with a label each."""
        pieces = [np.asarray(row, dtype=np.int32) for row in rows]
        offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
        tokens = np.concatenate(pieces) if pieces else np.empty(0, np.int32)
        return cls(tokens, offsets, labels.astype(np.int64))

    @classmethod
    def tagged(cls, rows: Iterable[list[int]], tags: Iterable[Ints]) -> TokenTable:
        """Lay out rows of token numbers with a tag each token."""
        pieces = list(rows)
        table = cls.of(pieces, np.zeros(len(pieces), np.int64))
        return replace(table, tags=np.concatenate([np.empty(0, np.int64), *tags]).astype(np.int16))

    @classmethod
    def join(cls, tables: Iterable[TokenTable]) -> TokenTable:
        """Lay out the rows of several tables in one."""
        parts = list(tables)
        lengths = np.concatenate([np.zeros(1, np.int64), *(part.lengths for part in parts)])
        return cls(
            np.concatenate([np.empty(0, np.int32), *(part.tokens for part in parts)]),
            np.cumsum(lengths),
            np.concatenate([np.empty(0, np.int64), *(part.labels for part in parts)]),
            np.concatenate([np.empty(0, np.int16), *(part.tags for part in parts)]),
        )

    @property
    def lengths(self) -> Ints:
        """Tokens of each row, shape (rows,)."""
        return np.diff(self.offsets)

    def save(self, folder: Path) -> None:
        """Put the table in place as a folder: whole, or not at all."""
        own = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        for name in _ARRAYS:
            np.save(own / f"{name}.npy", getattr(self, name), allow_pickle=False)
        own.rename(folder)

    @classmethod
    def load(cls, folder: Path) -> TokenTable:
        """Map the table that `save` wrote."""
        # As plain arrays: np.memmap looks at every slice anew, which takes as long as the rows of a small one.
        return cls(
            *(np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)) for name in _ARRAYS)
        )


class TokenTables:
    """The tables of a data set's shards in a folder that the ranks of a machine share.

    Args:
        folder: Where tables lie, and stay for the next start of the same training.
        make: Reads a shard, by its number, and returns its rows.
    """

    def __init__(self, folder: Path, make: Callable[[int], TokenTable]) -> None:
        self._folder, self._make = folder, make
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.table = functools.cache(self._load)
        """Return a shard's table; made now if no rank has made it yet."""
        folder.mkdir(parents=True, exist_ok=True)

    def prefetch(self, shards: Iterable[int]) -> None:
        """Have shards made in the background, in an order, while what is there already is trained on."""
        order = [int(shard) for shard in shards]
        self._thread = threading.Thread(target=self._prefetch, args=(order,), name="prefetch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Make no further shard; return when the one that is being made is done."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _prefetch(self, shards: list[int]) -> None:
        for shard in shards:
            if self._stop.is_set():
                return
            try:
                # One that another rank is at is left to it: so ranks share the work.
                self._ensure(shard, waits=False)
            except (NightshiftError, OSError) as error:
                log.warning("shard %d was not read ahead, it will be read when needed: %s", shard, error)

    def _load(self, shard: int) -> TokenTable:
        self._ensure(shard, waits=True)
        return TokenTable.load(self._folder / str(shard))

    def _ensure(self, shard: int, *, waits: bool) -> None:
        """Have a shard's table in the folder, unless another rank is at it and it is not waited for."""
        folder = self._folder / str(shard)
        if folder.is_dir():
            return
        with (self._folder / f"{shard}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
            except BlockingIOError:
                return
            if not folder.is_dir():
                self._make(shard).save(folder)
