"""Streams: numbered without gaps, chained by hash, one winner a generation."""

from __future__ import annotations

import bisect
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from operators.core.errors import StorageError
from operators.core.manifest import canonical, sha256_hex
from operators.core.storage import Entry, Store
from operators.core.storage.endpoint import Listed
from operators.core.storage.slots import put_once
from operators.core.storage.streams import _last_generation
from tests.core.storage.flaky import Fault, cut_off, make_flaky


def digest(number: int) -> str:
    """Return some digest; streams do not look behind it."""
    return sha256_hex(b"%d" % number)


def test_an_empty_stream_has_no_head(stores: list[Store]) -> None:
    """Nothing appended: no head, no entries."""
    assert stores[0].stream("release-x").head() is None
    assert stores[0].stream("release-x").entries() == []


def test_a_stream_says_when_its_newest_entry_was_written(stores: list[Store]) -> None:
    """None before the first; a second entry is the newer one, on a clock of whole seconds at the least."""
    stream = stores[0].stream("release-x")
    assert stream.written() is None
    began = time.time()
    first = stream.append(digest(1), None)
    written = stream.written()
    stream.append(digest(2), first)

    assert written is not None and began - 2 <= written <= time.time() + 2
    assert (stores[1].stream("release-x").written() or 0) >= written


def test_entries_are_numbered_and_chained(stores: list[Store]) -> None:
    """Generations count from 0 without gaps and each names the one before by its hash."""
    stream, head = stores[0].stream("release-x"), None
    for number in range(4):
        head = stream.append(digest(number), head)
    entries = stores[1].stream("release-x").entries()

    assert [digest(number) for number in range(4)] == [entry.manifest for entry in entries]
    assert list(range(4)) == [entry.generation for entry in entries]
    assert [None, *(entry.sha256 for entry in entries[:-1])] == [entry.previous for entry in entries]
    assert entries[-1] == stores[1].stream("release-x").head()


def test_an_append_race_has_one_winner(stores: list[Store]) -> None:
    """Six writers after the same head: all are told the same winner, and one generation was added."""
    barrier = threading.Barrier(6)

    def append(number: int) -> Entry:
        stream = stores[number % 2].stream("release-x")
        barrier.wait()
        return stream.append(digest(number), None)

    with ThreadPoolExecutor(6) as pool:
        winners = list(pool.map(append, range(6)))

    assert len(set(winners)) == 1
    assert stores[0].stream("release-x").entries() == [winners[0]]


def test_appending_after_an_old_entry_returns_what_is_there(stores: list[Store]) -> None:
    """A writer that missed an entry is told so by the winner and changes nothing."""
    stream = stores[0].stream("release-x")
    first = stream.append(digest(0), None)
    second = stream.append(digest(1), first)

    assert stream.append(digest(2), first) == second
    assert stream.head() == second


def test_a_lost_reply_does_not_append_twice(stores: list[Store]) -> None:
    """The append landed and the answer did not: the winner is mine."""
    flaky = make_flaky(stores[0], "site_a", Fault(verb="put_if_absent", key="log/", kind="lose_reply"))
    entry = stores[0].stream("release-x").append(digest(0), None)

    assert entry.manifest == digest(0)
    assert flaky.faults[0].fired == 1
    assert stores[1].stream("release-x").entries() == [entry]


def test_a_head_is_found_with_an_endpoint_away(stores: list[Store]) -> None:
    """Entries written while one endpoint was away are read when another is."""
    cut_off(stores[0], "site_c")
    first = stores[0].stream("release-x").append(digest(0), None)
    second = stores[0].stream("release-x").append(digest(1), first)
    cut_off(stores[1], "site_b")

    assert stores[1].stream("release-x").head() == second


def test_a_broken_chain_is_refused(stores: list[Store]) -> None:
    """An entry that does not follow from the one before is an error, not history."""
    stream = stores[0].stream("release-x")
    stream.append(digest(0), None)
    forged = {"format": 1, "manifest": digest(1), "previous": digest(9)}
    put_once(stores[0].membership, f"log/release-x/{1:020d}", canonical(forged))

    with pytest.raises(StorageError, match="does not follow"):
        stream.entries()


def test_streams_of_similar_names_are_apart(stores: list[Store]) -> None:
    """`release-x` does not see `release-x2`."""
    stores[0].stream("release-x2").append(digest(0), None)

    assert stores[0].stream("release-x").head() is None


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a b", "x" * 97])
def test_a_stream_name_cannot_leave_its_prefix(stores: list[Store], name: str) -> None:
    """Names become keys: only plain ones pass."""
    with pytest.raises(ValueError, match="stream name"):
        stores[0].stream(name)


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250, 400, 100_000])
def test_the_end_of_a_long_stream_is_found_in_few_requests(count: int) -> None:
    """A stream of any length: one request for a short one, a few dozen for 10^5 generations."""
    keys = [f"i/log/s/{generation:020d}/{1:012d}" for generation in range(count)]
    asked = []

    class Listing:
        def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Listed]:
            asked.append(after)
            start = bisect.bisect_right(keys, after)
            return [Listed(key, 1, 0.0) for key in keys[start : start + (limit or count)]]

    assert _last_generation(Listing(), "i/log/s/") == max(count - 1, 0)  # type: ignore[arg-type]
    assert len(asked) <= (1 if count < 100 else 30)
