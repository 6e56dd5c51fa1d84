"""A keyed permutation of which any piece is found without the rest."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_ROUNDS = 8
_HALF = np.uint64(32)
"""Bits that a round leaves aside, so that its sum does not overflow."""


class KeyedPermutation:
    """A permutation of 0..count-1 that follows from the key alone, on every machine and library version.

    A generalised Feistel network of eight rounds over a rectangle with hardly more places than there are numbers,
    walked along its cycle back into the range (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA
    2002); its round function is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). It mixes; it keeps no secret.

    Args:
        count: At least 1 and less than 2^62.
        key: Any text.
    """

    def __init__(self, count: int, key: str) -> None:
        self._count = count
        width = math.isqrt(count - 1) + 1 if count > 1 else 1
        self._width, self._height = np.uint64(width), np.uint64(-(-count // width))
        self._keys = np.frombuffer(hashlib.sha512(key.encode()).digest(), "<u8", _ROUNDS)

    def at(self, positions: Ints) -> Ints:
        """Return what stands at positions, each from 0 to count-1; in time that does not depend on the count."""
        values = self._network(positions.astype(np.uint64))
        # The rectangle has less than one row too many, so few are walked on.
        while len(outside := np.flatnonzero(values >= self._count)):
            values[outside] = self._network(values[outside])
        return values.astype(np.int64)

    def _network(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        row, column = values // self._width, values % self._width
        for number, key in enumerate(self._keys):
            if number % 2:
                row = (row + (_mixed(column + key) >> _HALF)) % self._height
            else:
                column = (column + (_mixed(row + key) >> _HALF)) % self._width
        return row * self._width + column


def _mixed(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
