"""The search for leaked addresses, before anything rests on what it does not find."""

from __future__ import annotations

from tests.leaks import AddressSearch, search_all

LEAK, CLEAN = b"From: Someone <ann@example.com>", b"From: p-1"


def test_a_leak_is_told_at_each_of_its_places():
    """Equal copies are searched once, and each of them is named."""
    search = AddressSearch(["ann@example.com"])
    kept = [("store-1", LEAK), ("store-1", CLEAN), ("store-2", LEAK), ("store-2", CLEAN)]

    assert search_all(search, kept) == (4, {"store-1": {"ann@example.com"}, "store-2": {"ann@example.com"}})
