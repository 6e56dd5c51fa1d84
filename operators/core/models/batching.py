"""Rows of token numbers in batches of like length, never padded further than the longest row of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Forward = Callable[[Ints, Ints], Floats]
"""Token numbers and attention mask, both of shape (rows, longest row), to an output a row. Uses one thread."""


def pad(rows: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[Ints, Ints]:
    """Return token numbers and attention mask, both of shape (rows, longest row)."""
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def batches_by_length(rows: Sequence[Sequence[int]], batch_size: int) -> list[Ints]:
    """Return row indices in batches of like length, longest first, each row once.

    Longest first shows at the start how much memory the whole needs.
    """
    order = np.argsort([-len(row) for row in rows], kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def run_batches(
    forward: Forward, rows: Sequence[Sequence[int]], *, batch_size: int, pad_id: int, threads: int
) -> Iterator[tuple[Ints, Floats]]:
    """Yield each batch's row indices and output, in order; `threads` batches are computed beside each other.

    Several batches on a thread each take less time than one batch on several threads, and the batches, so also the
    outputs, do not depend on how many there are.
    """
    batches = batches_by_length(rows, batch_size)

    def run(batch: Ints) -> Floats:
        return forward(*pad([rows[index] for index in batch], pad_id))

    if threads == 1 or len(batches) == 1:
        yield from ((batch, run(batch)) for batch in batches)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="batch") as pool:
        yield from zip(batches, pool.map(run, batches), strict=True)
