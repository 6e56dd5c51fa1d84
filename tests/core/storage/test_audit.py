"""The audit trail: every change once, in order, and a broken entry is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from operators.core.settings import StorageSettings
from operators.core.storage import Store, open_store
from operators.core.storage.audit import Change, note, trail, verify


def change(number: int, detail: str = "") -> Change:
    """Return some change."""
    return Change(action="move primary", subject="site_b", by="ann", event=f"event-{number}", detail=detail)


def test_changes_are_kept_in_order(store: Store) -> None:
    """What was noted comes back, oldest first, and the chain is whole."""
    for number in range(3):
        note(store, change(number))

    assert [entry.change.event for entry in trail(store)] == ["event-0", "event-1", "event-2"]
    assert verify(store).entries == 3
    assert verify(store).broken is None


def test_an_empty_trail_is_whole(store: Store) -> None:
    """Nothing was done."""
    assert verify(store).broken is None


def test_a_wish_that_was_tried_again_is_on_the_trail_once(store: Store) -> None:
    """A task that was killed after it noted what it did notes it again: the same event."""
    first = note(store, change(1, "done"))
    note(store, change(2))

    assert note(store, change(1, "done, once more")) == first
    assert len(trail(store)) == 2


def test_changes_at_once_all_get_their_entry(store: Store, storage_settings: StorageSettings) -> None:
    """Several people at once: none is lost, none is doubled."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: note(open_store(storage_settings), change(number)), range(8)))

    assert sorted(entry.change.event for entry in trail(store)) == [f"event-{number}" for number in range(8)]
    assert verify(store).broken is None


@pytest.mark.parametrize("harm", ["entry", "manifest"])
def test_the_first_broken_entry_is_named(store: Store, tmp_path: Path, harm: str) -> None:
    """Somebody rewrote an entry, or what it names, on every endpoint: the trail says from where on it is worthless."""
    entries = [note(store, change(number)) for number in range(4)]
    for line in store.record.members:
        top = tmp_path / line.name / line.incarnation
        if harm == "manifest":
            (top / "man" / entries[2].manifest[:2] / entries[2].manifest).write_bytes(b"{}")
        else:
            log = top / "log" / "audit"
            third, fourth = (next((log / f"{generation:020d}").iterdir()) for generation in (2, 3))
            third.write_bytes(fourth.read_bytes())

    verdict = verify(open_store_again(store))

    assert verdict.broken == 2
    assert verdict.entries == 2


def open_store_again(store: Store) -> Store:
    """Return the store as a process sees it that remembers nothing."""
    return Store(store.membership)
