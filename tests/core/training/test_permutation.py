"""A keyed permutation is one, looks like chance, and is the published construction."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.training.permutation import KeyedPermutation


@settings(max_examples=80, deadline=None)
@given(count=st.integers(1, 5000), key=st.text(max_size=20))
def test_every_number_stands_at_one_position(count: int, key: str) -> None:
    """For any count and key."""
    assert sorted(KeyedPermutation(count, key).at(np.arange(count))) == list(range(count))


@given(count=st.integers(1, 2**40), positions=st.lists(st.integers(0, 2**40 - 1), min_size=1, max_size=20))
@settings(deadline=None)
def test_any_piece_is_found_without_the_rest(count: int, positions: list[int]) -> None:
    """A position's number does not depend on what else is asked for, also among a million million."""
    asked = np.array([position % count for position in positions])
    permutation = KeyedPermutation(count, "key")

    assert permutation.at(asked).tolist() == [int(permutation.at(np.array([one]))[0]) for one in asked]
    assert permutation.at(asked).max() < count


def test_it_is_the_published_construction() -> None:
    """Against whole numbers: eight rounds over 548 columns and 548 rows, walked back below 300,000."""

    def mixed(state: int) -> int:
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        return (state ^ (state >> 31)) >> 32

    digest = hashlib.sha512(b"rows:0:0").digest()
    keys = [int.from_bytes(digest[8 * n : 8 * n + 8], "little") for n in range(8)]

    def walk(value: int) -> int:
        row, column = divmod(value, 548)
        for even, odd in zip(keys[::2], keys[1::2], strict=True):
            column = (column + mixed((row + even) % 2**64)) % 548
            row = (row + mixed((column + odd) % 2**64)) % 548
        value = row * 548 + column
        return value if value < 300_000 else walk(value)

    asked = np.arange(0, 300_000, 999)

    assert KeyedPermutation(300_000, "rows:0:0").at(asked).tolist() == [walk(int(one)) for one in asked]


def test_neighbours_do_not_stay_neighbours() -> None:
    """Position and number are uncorrelated, and steps between neighbours are as long as chance makes them."""
    count = 100_000
    numbers = KeyedPermutation(count, "rows:1:0").at(np.arange(count))
    steps = np.abs(np.diff(numbers))

    assert abs(np.corrcoef(np.arange(count), numbers)[0, 1]) < 0.01
    assert abs(steps.mean() / (count / 3) - 1) < 0.01
    assert np.count_nonzero(steps == 1) < 12  # 2 are expected


def test_keys_give_different_permutations() -> None:
    """The order is drawn anew for each epoch and each seed."""
    orders = {tuple(KeyedPermutation(100, f"rows:{n}:{m}").at(np.arange(100))) for n in range(4) for m in range(4)}

    assert len(orders) == 16
