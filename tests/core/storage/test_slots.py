"""Slots: one value for ever, whatever fails on the way."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from operators.core.errors import PrimaryAway, QuorumLost, StorageError
from operators.core.storage import Store
from operators.core.storage.slots import put_once, read_slot
from operators.core.storage.sums import with_sum
from tests.core.storage.flaky import Fault, bring_back, cut_off, make_flaky

SLOT = "run/" + "a" * 64


def holders(store: Store, slot: str, value: bytes) -> set[str]:
    """Return the endpoints that hold a value under the first term."""
    found = set()
    for member in store.record.members:
        key = f"{slot}/{1:012d}"
        if store.membership.endpoints[member.name].get(f"{member.incarnation}/{key}") == with_sum(key, value):
            found.add(member.name)
    return found


def test_the_first_value_stays(stores: list[Store]) -> None:
    """A second value is refused and the first one returned, to the writer and to every reader."""
    first, second = stores

    assert put_once(first.membership, SLOT, b"one") == b"one"
    assert put_once(second.membership, SLOT, b"two") == b"one"
    assert read_slot(second.membership, SLOT) == b"one"


def test_an_empty_slot_reads_as_absent(stores: list[Store]) -> None:
    """Nothing was put: nothing is there."""
    assert read_slot(stores[0].membership, SLOT) is None


def test_an_acknowledged_value_is_on_all_endpoints_that_answer(stores: list[Store]) -> None:
    """With nobody away, all three hold the winner."""
    put_once(stores[0].membership, SLOT, b"one")

    assert {"site_a", "site_b", "site_c"} == holders(stores[0], SLOT, b"one")


def test_racing_writers_see_one_winner(stores: list[Store]) -> None:
    """Eight writers of eight values all get the same one back."""
    barrier = threading.Barrier(8)

    def write(number: int) -> bytes:
        barrier.wait()
        return put_once(stores[number % 2].membership, SLOT, b"value %d" % number)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(write, range(8)))

    assert len(set(answers)) == 1
    assert answers[0] == read_slot(stores[0].membership, SLOT)


@pytest.mark.parametrize("kind", ["lose_reply", "lose_call"])
def test_a_lost_reply_of_the_primary_is_resolved_by_reading_back(stores: list[Store], kind: str) -> None:
    """Whether the put took effect or not, one more call returns my own value: nobody else wrote one."""
    first, _ = stores
    flaky = make_flaky(first, "site_a", Fault(verb="put_if_absent", key=SLOT, kind=kind))
    try:
        answer = put_once(first.membership, SLOT, b"mine")
    except PrimaryAway:
        answer = put_once(first.membership, SLOT, b"mine")

    assert answer == b"mine"
    assert [fault.fired for fault in flaky.faults] == [1]


def test_a_lost_reply_is_recognised_as_my_own_win(stores: list[Store]) -> None:
    """The reply of the put that won is lost: the same call still returns my value, in one go."""
    first, second = stores
    flaky = make_flaky(first, "site_a", Fault(verb="put_if_absent", key=SLOT, kind="lose_reply"))

    assert put_once(first.membership, SLOT, b"mine") == b"mine"
    assert flaky.faults[0].fired == 1
    assert put_once(second.membership, SLOT, b"another's") == b"mine"


def test_one_endpoint_away_changes_nothing(stores: list[Store]) -> None:
    """With a non-primary endpoint away, values are committed, read, and filled in when it is back."""
    first, second = stores
    cut_off(first, "site_c")
    cut_off(second, "site_c")

    assert put_once(first.membership, SLOT, b"one") == b"one"
    assert read_slot(second.membership, SLOT) == b"one"

    bring_back(second, "site_c")
    assert read_slot(second.membership, SLOT) == b"one"
    bring_back(first, "site_c")
    assert {"site_a", "site_b", "site_c"} == holders(first, SLOT, b"one")


def test_without_the_primary_commits_wait_and_reads_go_on(stores: list[Store]) -> None:
    """The primary away: a new value is refused so that a retry can help, an acknowledged one is read."""
    first, _ = stores
    put_once(first.membership, SLOT, b"one")
    cut_off(first, "site_a")

    with pytest.raises(PrimaryAway):
        put_once(first.membership, "run/" + "b" * 64, b"new")
    assert read_slot(first.membership, SLOT) == b"one"
    assert put_once(first.membership, SLOT, b"two") == b"one"


def test_two_endpoints_away_refuse_everything(stores: list[Store]) -> None:
    """One endpoint alone never speaks for the store."""
    first, _ = stores
    put_once(first.membership, SLOT, b"one")
    cut_off(first, "site_b", "site_c")

    with pytest.raises(QuorumLost):
        read_slot(first.membership, SLOT)
    with pytest.raises(QuorumLost):
        put_once(first.membership, "run/" + "b" * 64, b"new")


def test_a_value_on_the_primary_alone_is_helped_not_replaced(stores: list[Store]) -> None:
    """A writer died after the primary took its value: the next writer carries that value to the others."""
    first, second = stores
    flaky = [
        make_flaky(first, name, Fault(verb="put_if_absent", key=SLOT, kind="lose_call"))
        for name in ("site_b", "site_c")
    ]
    with pytest.raises(StorageError):
        put_once(first.membership, SLOT, b"died half-way")
    assert [fault.fired for endpoint in flaky for fault in endpoint.faults] == [1, 1]

    assert put_once(second.membership, SLOT, b"next") == b"died half-way"
    assert {"site_a", "site_b", "site_c"} == holders(second, SLOT, b"died half-way")


def test_an_endpoint_wiped_during_a_step_does_not_count_in_it(stores: list[Store]) -> None:
    """The identity is read after the answer: what a wiped endpoint said just before does not make a quorum."""
    first, _ = stores
    cut_off(first, "site_c")
    # site_b still answers, but its identity is gone by the time it is asked for.
    flaky = make_flaky(first, "site_b", Fault(verb="get", key="identity.json", kind="lose_call", times=-1))

    with pytest.raises(QuorumLost):
        put_once(first.membership, SLOT, b"one")
    assert flaky.faults[0].fired > 0


@pytest.mark.parametrize("rotten", ["site_b", "site_c"])
def test_a_rotten_copy_is_not_another_value(stores: list[Store], rotten: str) -> None:
    """One flipped bit in one copy of a slot neither changes its value nor makes it unreadable."""
    first, second = stores
    put_once(first.membership, SLOT, b"one")
    key = f"{SLOT}/{1:012d}"
    damaged = with_sum(key, b"one").replace(b"one", b"ona")
    first.membership.endpoints[rotten].put(f"{first.record.line(rotten).incarnation}/{key}", damaged)

    assert read_slot(second.membership, SLOT) == b"one"
    assert put_once(second.membership, SLOT, b"two") == b"one"


def test_another_slots_document_is_not_this_ones(stores: list[Store]) -> None:
    """An endpoint that shows what lies under another key is an endpoint that cannot tell: nothing of it is believed."""
    first, second = stores
    other = SLOT.replace("a", "b")
    put_once(first.membership, SLOT, b"one")
    put_once(first.membership, other, b"two")
    incarnation = first.record.line("site_b").incarnation
    foreign = first.membership.endpoints["site_b"].get(f"{incarnation}/{other}/{1:012d}")
    first.membership.endpoints["site_b"].put(f"{incarnation}/{SLOT}/{1:012d}", foreign or b"")

    assert read_slot(second.membership, SLOT) == b"one"
    assert put_once(second.membership, SLOT, b"three") == b"one"
