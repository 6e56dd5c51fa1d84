"""What texts look like: numbers of each, counted for many together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.int64]
LABEL_BUCKETS = 64
"""Of labels, and of the words of each: so what goes with what takes no more room than the words themselves."""
WORD_BUCKETS = LABEL_BUCKETS**2
"""Words are counted by a hash of 12 bits: enough to see another vocabulary, too little to find a word again."""
_HASH_BITS, _ROW_BITS = 44, 20
"""Of a word's key: its row, and as many bits of its hash, the bucket first."""
_FACTOR = 0x9E37_79B9_7F4A_7C15
_INVERSE = pow(_FACTOR, -1, 1 << 64)

CLASSES: Mapping[str, Callable[[str], bool]] = {
    "letters": str.isalpha,
    "capitals": str.isupper,
    "digits": str.isdigit,
    "not_ascii": lambda character: character > "\x7f",
    "punctuation": lambda character: character in '<>&;="{}\\|',
}
"""Kinds of characters, whose share of a text is measured."""
MEASURES = ("characters", "words", "lines", "characters_a_word", "distinct_words")
"""Numbers of a text that are measured beside them."""
_TESTS: tuple[Callable[[str], bool], ...] = (*CLASSES.values(), lambda character: character == "\n")
_EDGES = np.array([2 ** (step / 4) - 1 for step in range(128)])


def count_bins(values: npt.NDArray[np.float64] | Numbers) -> Numbers:
    """Return the bins of counts or lengths: four an octave, so that 19 % more is another bin at any size."""
    return np.searchsorted(_EDGES, values, "right") - 1


def share_bins(values: npt.NDArray[np.float64]) -> Numbers:
    """Return the bins of shares from 0 to 1: finer near 0, where most shares of a text are."""
    return (40 * np.sqrt(values)).astype(np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What some texts look like."""

    bins: Mapping[str, Numbers]
    """By measure and class the bin of each text, shape (texts,)."""
    words: Numbers
    """The bucket of each word of each text; a bucket once a text."""
    _keys: Numbers
    """Text * LABEL_BUCKETS + the first half of a word's bucket, each once, in order."""

    def of_labels(self, texts: Numbers, labels: Numbers) -> Numbers:
        """Return label * LABEL_BUCKETS + word for the words of texts with labels, once a text.

        Args:
            texts: Number of a text, shape (pairs,).
            labels: Bucket of a label that it has, shape (pairs,).
        """
        starts = np.searchsorted(self._keys, texts * LABEL_BUCKETS)
        counts = np.searchsorted(self._keys, (texts + 1) * LABEL_BUCKETS) - starts
        pairs, places = spread(starts, counts)
        return labels[pairs] * LABEL_BUCKETS + self._keys[places] % LABEL_BUCKETS


def hashes(texts: pa.StringArray) -> Numbers:
    """Return 64 bits of each text, the same for equal texts in this process: of a million two differ by chance 1e-8."""
    each = texts.to_numpy(zero_copy_only=False).tolist()
    return np.fromiter(map(hash, each), np.int64, len(each))


def measure(texts: list[str]) -> Measured:
    """Return what texts look like; none is empty, and they are fewer than 2^20.

    A word is a run of letters, digits and underscores, the same in capitals.
    """
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    # Each text with a line end after it, which is part of no word.
    ends = np.cumsum(lengths + 1)
    codes = np.frombuffer("\n".join([*texts, ""]).encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds, folded = _tables(codes)
    of_kind = kinds[codes]
    counts = [np.add.reduceat((of_kind >> bit) & 1, ends - lengths - 1, dtype=np.int64) for bit in range(len(_TESTS))]
    keys, words = _word_keys(folded[codes], ends)
    distinct = np.bincount(keys >> _HASH_BITS, minlength=len(texts))
    numbers = (lengths, words, counts.pop() - 1, lengths / np.maximum(words, 1))
    bins = dict(zip(MEASURES, map(count_bins, numbers), strict=False))
    bins["distinct_words"] = share_bins(distinct / np.maximum(words, 1))
    bins |= {name: share_bins(count / lengths) for name, count in zip(CLASSES, counts, strict=True)}
    in_buckets, in_label_buckets = _distinct(keys >> (_HASH_BITS - 12)), _distinct(keys >> (_HASH_BITS - 6))
    return Measured(bins=bins, words=in_buckets % WORD_BUCKETS, _keys=in_label_buckets)


def _tables(codes: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64]]:
    """Return by character a bit for each of `_TESTS`, and what it counts as in a word, 0 where it is in none."""
    present = np.flatnonzero(np.bincount(codes))
    kinds, folded = np.zeros(present[-1] + 1, np.uint8), np.zeros(present[-1] + 1, np.uint64)
    for code in present.tolist():
        character = chr(code)
        kinds[code] = sum(test(character) << bit for bit, test in enumerate(_TESTS))
        if character.isalnum() or character == "_":
            small = character.casefold()
            folded[code] = ord(small) if len(small) == 1 else code
    return kinds, folded


def _word_keys(folded: npt.NDArray[np.uint64], ends: Numbers) -> tuple[Numbers, Numbers]:
    """Return the sorted keys of the distinct words of each text, and how many words each has."""
    borders = np.flatnonzero(np.diff(folded != 0, prepend=False))
    starts, stops = borders[::2], borders[1::2]
    words = np.diff(np.searchsorted(starts, ends), prepend=0)
    # A word's hash is the sum of its characters times powers of an odd factor, modulo 2^64: a difference of running
    # sums, divided by the power at which it starts.
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(folded * _powers(_FACTOR, len(folded)))])
    hashes = (sums[stops] - sums[starts]) * _powers(_INVERSE, len(folded))[starts] * np.uint64(_FACTOR)
    hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(_FACTOR)
    texts = np.repeat(np.arange(len(ends)), words)
    keys = (texts << _HASH_BITS) | (hashes >> np.uint64(64 - _HASH_BITS)).astype(np.int64)
    return _distinct(np.sort(keys)), words


def _powers(factor: int, count: int) -> npt.NDArray[np.uint64]:
    """Return the first powers of a factor, from the first on, modulo 2^64."""
    return _powers_up_to(factor, count.bit_length())[:count]


@functools.lru_cache(4)
def _powers_up_to(factor: int, bits: int) -> npt.NDArray[np.uint64]:
    return np.multiply.accumulate(np.full(1 << bits, factor, np.uint64))


def spread(starts: Numbers, counts: Numbers) -> tuple[Numbers, Numbers]:
    """Return for runs of places, each from a start on so many: the number of its run, and each place."""
    runs = np.repeat(np.arange(len(counts)), counts)
    return runs, (starts - np.cumsum(counts) + counts)[runs] + np.arange(len(runs))


def _distinct(ordered: Numbers) -> Numbers:
    """Return each of some ordered numbers once."""
    return ordered[np.flatnonzero(np.diff(ordered, prepend=-1))]
