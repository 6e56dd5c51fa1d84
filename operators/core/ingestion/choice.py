"""Which rows of a window go to which split, and which are left out: one byte a row."""

from __future__ import annotations

import contextlib
import hmac
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.core.ingestion.parts import Window

LEFT_OUT, TRAIN, TEST = 0, 1, 2
SIDES = {"train": TRAIN, "test": TEST}
Choice = npt.NDArray[np.uint8]
"""For each row of a window, by its place: one of the three above."""
DIGEST = np.dtype([("head", ">u8"), ("tail", ">u8")])
"""The first 128 bits of a keyed digest. Two different texts of ten billion share one with probability 1e-19."""
ROWS_A_PASS = 1 << 20
_BLOCK_ROWS = 1 << 18
_MOST_PASSES = 256
"""And so files open at once; beyond that a pass has more rows."""
_PLACED = np.dtype([("place", "<u8"), ("head", "<u8"), ("tail", "<u8")])
"""A digest and the place of its row."""


def digests(texts: pa.Array, key: bytes) -> npt.NDArray[np.void]:
    """Return the keyed digest of each text, of type DIGEST, shape (texts,).

    Its head divided by 2^64 is the text's share, which decides the split: a text stays on its side from night to night.
    """
    texts = texts.cast(pa.large_string())
    _, offsets, values = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1].tolist()
    view = memoryview(values) if values else b""
    each = (b"split\0" + view[start:end] for start, end in itertools.pairwise(ends))
    return np.frombuffer(b"".join(hmac.digest(key, text, "sha256")[:16] for text in each), DIGEST)


def write_digests(
    window: Window, key: bytes, path: Path, pool: ThreadPoolExecutor, done: Callable[[str], None]
) -> None:
    """Hold the digests of all texts of a window in a file of DIGEST, in the order of their places."""

    def of_part(number: int) -> bytes:
        batches = window.parts[number].batches(["text"])
        return b"".join(digests(batch.column("text"), key).tobytes() for batch in batches)

    with path.open("wb") as file:
        for number, found in enumerate(pool.map(of_part, range(len(window.parts)))):
            file.write(found)
            done(f"{window.rows[number]} rows read")


def choose(path: Path, test_share: float) -> Choice:
    """Return the choice for rows whose digests lie in a file, in their order: of equal texts the first is kept.

    Memory is bounded: a byte a row, and `ROWS_A_PASS` digests at once unless one text has more rows than that.

    Args:
        path: File of DIGEST.
        test_share: Part of the texts that go to the test split, from 0 to 1.
    """
    rows = path.stat().st_size // DIGEST.itemsize
    choice = np.zeros(rows, dtype=np.uint8)
    for found in _dealt_out(path, min(_MOST_PASSES, max(1, -(-rows // ROWS_A_PASS)))):
        first = _first_of_each(found)
        share = found["head"][first].astype(np.float64) / 2.0**64
        choice[found["place"][first]] = np.where(share < test_share, TEST, TRAIN)
    return choice


def _dealt_out(path: Path, passes: int) -> Iterator[npt.NDArray[np.void]]:
    """Yield rows of `_PLACED` in their order: at once all whose tail leaves the same when it is divided by `passes`.

    They are dealt out to a file each, so that what lies in the file is read once, however many passes there are.
    """
    parts = [path.with_name(f"{path.name}-{number}") for number in range(passes)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(part.open("wb")) for part in parts]
        for start, block in _blocks(path):
            placed = np.empty(len(block), _PLACED)
            placed["place"] = np.arange(start, start + len(block))
            placed["head"], placed["tail"] = block["head"], block["tail"]
            of_pass = (placed["tail"] % passes).astype(np.uint16)
            order = np.argsort(of_pass, kind="stable")
            borders = np.searchsorted(of_pass[order], np.arange(1, passes))
            for file, own in zip(files, np.split(placed[order], borders), strict=True):
                own.tofile(file)
    for part in parts:
        yield np.fromfile(part, _PLACED)
        part.unlink()


def _blocks(path: Path) -> Iterator[tuple[int, npt.NDArray[np.void]]]:
    start = 0
    with path.open("rb") as file:
        while len(block := np.fromfile(file, DIGEST, _BLOCK_ROWS)):
            yield start, block
            start += len(block)


def _first_of_each(found: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """Return the positions of the digests that no earlier one equals."""
    order = np.lexsort((found["tail"], found["head"]))  # stable: equal ones stay in their order
    head, tail = found["head"][order], found["tail"][order]
    is_first = np.ones(len(order), dtype=np.bool_)
    is_first[1:] = (head[1:] != head[:-1]) | (tail[1:] != tail[:-1])
    return order[is_first]
