"""A keyed permutation of which any piece is found without the rest."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_ROUNDS = 8


class KeyedPermutation:
    """A permutation of 0..count-1 that follows from the key alone, on every machine and library version.

    A Feistel network of eight rounds over the next power of four, walked along its cycle back into the range (Black and
    Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002); its round function is SplitMix64 (Steele, Lea and
    Flood, OOPSLA 2014). It mixes; it keeps no secret.
    """

    def __init__(self, count: int, key: str) -> None:
        self._count = count
        self._bits = np.uint64(max(1, (max(1, count - 1).bit_length() + 1) // 2))
        self._mask = (np.uint64(1) << self._bits) - np.uint64(1)
        digest = hashlib.sha512(key.encode()).digest()
        self._keys = np.frombuffer(digest, "<u8", _ROUNDS)

    def at(self, positions: Ints) -> Ints:
        """Return what stands at positions, each from 0 to count-1; in time that does not depend on the count."""
        values = self._network(positions.astype(np.uint64))
        # On average at most four walks: the network's range is less than four times the count.
        while len(outside := np.flatnonzero(values >= self._count)):
            values[outside] = self._network(values[outside])
        return values.astype(np.int64)

    def _network(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = values >> self._bits, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right + key) & self._mask)
        return (left << self._bits) | right


def _mixed(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
