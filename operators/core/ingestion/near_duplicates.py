"""Near-duplicates: texts that share most of what they are made of are found by MinHash and compared before one goes.

A text's shingles are the windows of eight bytes of it, in lower case, runs of white space as one space; the similarity
of two texts is the Jaccard index of their shingles. Of 125 minima in 25 bands of 5 one band agrees, so that two texts
are compared at all, with probability 0.99995 at a similarity of 0.8, 0.99 at 0.7, 0.06 at 0.3. Memory: about 30 bytes
a row, and what rows that are compared take: 24 bytes each and 128 texts' shingles.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rensa import RMinHash

from operators.core.errors import DataError
from operators.core.ingestion.choice import LEFT_OUT, TEST, TRAIN, Choice
from operators.core.ingestion.parts import Window

BANDS, BAND_ROWS = 25, 5
SHINGLE_BYTES = 8
MAX_TOLD = 10
"""Rows that the error of a contaminated split names."""
_SEEDS = {"drop": 1, "check": 2}
_TEXTS_HELD = 128
_PIECE_BYTES = 512 * 1024

Places = npt.NDArray[np.int64]
Shingles = npt.NDArray[np.uint64]


def drop_near_duplicates(
    window: Window, choice: Choice, similarity: float, folder: Path, pool: ThreadPoolExecutor
) -> int:
    """Leave out each chosen row whose text is at least so similar to that of an earlier one; return how many.

    Any two rows that stay and agree in a band were compared with each other.
    """
    index = _Index(window, choice, folder / "drop", _SEEDS["drop"], pool)
    before = np.count_nonzero(choice)
    for group in index.groups():
        kept: list[int] = []
        for place in group.tolist():
            if choice[place] == LEFT_OUT:
                continue
            if any(index.similarity(other, place) >= similarity for other in kept):
                choice[place] = LEFT_OUT
            else:
                kept.append(place)
    return int(before - np.count_nonzero(choice))


def check_apart(window: Window, choice: Choice, similarity: float, folder: Path, pool: ThreadPoolExecutor) -> None:
    """Return if no test row has a near-copy in train: looked for by other minima than those that dropped them.

    Raises:
        DataError: It has; the message has the number of such rows and the ids of some.
    """
    index = _Index(window, choice, folder / "check", _SEEDS["check"], pool)
    found: set[int] = set()
    for group in index.groups():
        train, test = (group[choice[group] == side].tolist() for side in (TRAIN, TEST))
        found.update(place for place in test if any(index.similarity(place, other) >= similarity for other in train))
    if found:
        ids = [window.row_id(place) for place in sorted(found)[:MAX_TOLD]]
        raise DataError(
            f"{len(found)} test rows have a copy in train that is {similarity} similar or more, ids {ids}: the split "
            "would be tested on what it was trained on"
        )


class _Index:
    """The chosen rows of a window by the bands of their minima, as files in a folder."""

    def __init__(self, window: Window, choice: Choice, folder: Path, seed: int, pool: ThreadPoolExecutor) -> None:
        folder.mkdir()
        self._folder, self._places = folder, np.flatnonzero(choice)
        starts = [0, *itertools.accumulate(window.rows)]

        def of_part(part: int) -> list[npt.NDArray[np.uint32]]:
            chosen = choice[starts[part] : starts[part + 1]] != LEFT_OUT
            return [band_keys(piece, seed) for texts in _texts(window, part, chosen) for piece in _pieces(texts)]

        with ExitStack() as stack:
            files = [stack.enter_context(self._band(number).open("wb")) for number in range(BANDS)]
            for keys in itertools.chain.from_iterable(pool.map(of_part, range(len(window.parts)))):
                for number, file in enumerate(files):
                    file.write(keys[:, number].tobytes())
        is_wanted = np.zeros(len(choice), dtype=np.bool_)
        for group in self.groups():
            is_wanted[group] = True
        self._hold_texts(window, is_wanted, starts)
        self._shingles = functools.lru_cache(_TEXTS_HELD)(self._read_shingles)

    def groups(self) -> Iterator[Places]:
        """Yield the places of rows that agree in a band, in order, at least two; band after band."""
        for number in range(BANDS):
            keys = np.fromfile(self._band(number), np.uint32)
            order = np.argsort(keys, kind="stable")
            ordered = keys[order]
            edges = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
            for which in np.flatnonzero(np.diff(edges) > 1):
                yield self._places[order[edges[which] : edges[which + 1]]]

    def similarity(self, one: int, two: int) -> float:
        """Return the Jaccard index of two rows' shingles."""
        first, second = self._shingles(one), self._shingles(two)
        shared = len(np.intersect1d(first, second, assume_unique=True))
        return shared / (len(first) + len(second) - shared)

    def _band(self, number: int) -> Path:
        return self._folder / f"band-{number:02d}"

    def _hold_texts(self, window: Window, is_wanted: npt.NDArray[np.bool_], starts: list[int]) -> None:
        """Hold the normalised texts of rows that will be compared in a file, one after the other."""
        self._wanted = np.flatnonzero(is_wanted)
        lengths = [np.zeros(1, np.int64)]
        with (self._folder / "texts").open("wb") as file:
            for part in range(len(window.parts)):
                for texts in _texts(window, part, is_wanted[starts[part] : starts[part + 1]]):
                    values, offsets = _bytes_of(texts)
                    file.write(values[offsets[0] : offsets[-1]].tobytes())
                    lengths.append(np.diff(offsets))
        self._ends = np.cumsum(np.concatenate(lengths))

    def _read_shingles(self, place: int) -> Shingles:
        number = int(np.searchsorted(self._wanted, place))
        start, end = int(self._ends[number]), int(self._ends[number + 1])
        text = np.fromfile(self._folder / "texts", np.uint8, end - start, offset=start)
        return np.unique(np.lib.stride_tricks.sliding_window_view(text, SHINGLE_BYTES).copy().view(np.uint64))


def band_keys(texts: pa.LargeStringArray, seed: int) -> npt.NDArray[np.uint32]:
    """Return the keys under which texts are looked for, shape (texts, BANDS); texts have SHINGLE_BYTES at least."""
    values, offsets = _bytes_of(texts)
    # Windows that begin in a text and end in the next are left out.
    counts = np.diff(offsets) - (SHINGLE_BYTES - 1)
    ends = np.cumsum(counts)
    shift = np.repeat(offsets[:-1] - (ends - counts), counts)
    windows = np.ndarray(len(values) - SHINGLE_BYTES + 1, "<u8", values, strides=(1,))
    tokens = _mixed(windows[np.arange(len(shift)) + shift])
    minima = RMinHash.digest_matrix_from_flat_token_hashes(
        tokens, np.concatenate([[0], ends]).astype(np.uint64), BANDS * BAND_ROWS, seed
    )
    rows = np.array(minima.to_rows(), np.uint64).reshape(len(texts), BANDS, BAND_ROWS)
    keys = np.zeros((len(texts), BANDS), np.uint64)
    for number in range(BAND_ROWS):
        keys = _mixed(keys ^ rows[:, :, number])
    return (keys >> np.uint64(32)).astype(np.uint32)


def _texts(window: Window, part: int, chosen: npt.NDArray[np.bool_]) -> Iterator[pa.LargeStringArray]:
    """Yield the normalised texts of a part's chosen rows, a bounded number of bytes at once."""
    row = 0
    for batch in window.parts[part].batches(["text"]):
        own = chosen[row : row + batch.num_rows]
        row += batch.num_rows
        if own.any():
            texts = batch.column("text").filter(pa.array(own)).cast(pa.large_string())
            spaced = pc.replace_substring_regex(pc.utf8_lower(texts), r"\s+", " ")
            yield pc.utf8_rpad(spaced, SHINGLE_BYTES)


def _pieces(texts: pa.LargeStringArray) -> Iterator[pa.LargeStringArray]:
    """Yield the texts in pieces of a few bytes: what is computed of each takes some fifty times as many."""
    _, offsets = _bytes_of(texts)
    cuts = np.unique(np.searchsorted(offsets, np.arange(offsets[0], offsets[-1], _PIECE_BYTES))).tolist()
    for start, end in itertools.pairwise([*cuts, len(texts)]):
        yield texts.slice(start, end - start)


def _bytes_of(texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.uint8], Places]:
    """Return the buffers of texts: their bytes, and where each begins and the last ends."""
    _, offsets, values = texts.buffers()
    return np.frombuffer(values, np.uint8), np.frombuffer(offsets, np.int64)[texts.offset :][: len(texts) + 1]


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return numbers whose every bit depends on all bits of the given: a round of SplitMix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
