"""From landing files to a data set: every row is accounted for, and neither workers nor kills change a byte."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from operators.core.storage import Store
from operators.core.storage.directory import DirectoryEndpoint
from operators.core.storage.founding import found_store
from operators.core.storage.members import Membership
from tests.core.ingestion.landings import FILES, File, Landing, Row, night
from tests.core.ingestion.parts import read_split
from tests.core.storage.flaky import Fault, make_flaky
from tests.faults.rounds import OneByOne

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
NAMES = ("e0", "e1", "e2")
EARLIER = File(
    days_ago=1,
    rows=(
        Row(story=1),
        Row(story=2, damage="no id"),
        Row(story=1, look="wide"),
        Row(story=1, version=1),
        Row(story=3, is_erased=True),
        Row(story=4, takes_first_id=True),
    ),
)
"""Rows of every fate."""


class Killed(BaseException):
    """What SIGKILL looks like from inside: nothing catches it."""


@contextmanager
def _memory() -> Iterator[Path]:
    """Give a folder in memory where there is one: many stores are made, and none must outlive a power cut."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="ns-", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def _open(folder: Path) -> Store:
    """Open a store in three directories as a new process does, one effect after the other."""
    return Store(_members(folder))


def _members(folder: Path) -> Membership:
    endpoints = [DirectoryEndpoint(name, folder / name) for name in NAMES]
    return Membership(endpoints, 2, around=OneByOne())


def _new(folder: Path, landing: Landing) -> Store:
    """Make a store that knows which rows of a landing zone were erased."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in NAMES:
        (folder / name).mkdir(parents=True)
    found_store(_members(folder))
    store = _open(folder)
    landing.erase(store)
    return store


def _die_at(store: Store, number: int) -> None:
    """Have whatever uses a store die right before its n-th write, counted from 0, and write no more."""
    writes = itertools.count()

    def die() -> None:
        if next(writes) >= number:
            raise Killed

    for name in NAMES:
        faults = [Fault(verb=verb, key="", kind="run", times=-1, action=die) for verb in ("put", "put_if_absent")]
        make_flaky(store, name, *faults)


def _contents(folder: Path) -> dict[str, int]:
    """Return the size of all that a store holds, without leases, which end by themselves."""
    held = {}
    for name in NAMES:
        for path in (folder / name).rglob("*"):
            key = path.relative_to(folder / name).as_posix().split("/", 1)[-1]
            if path.is_file() and not key.startswith("pin/"):
                held[f"{name} {key}"] = path.stat().st_size
    return held


@settings(max_examples=5)
@given(files=FILES, near_duplicates=st.sampled_from([None, 0.8]))
def test_every_row_is_kept_a_duplicate_quarantined_or_erased(files: list[File], near_duplicates: float | None) -> None:
    """By a count of the test's own, for files with dirty, erased and alike rows; the shards hold what is kept."""
    with _memory() as folder:
        landing = Landing(folder / "zone", files)
        store = _new(folder / "store", landing)
        manifest = night(store, landing, near_duplicates=near_duplicates).manifest
        kept = [row for split in ("train", "test") for row in read_split(store, manifest, split)["text"].to_pylist()]
    rows = manifest.facts["rows"]

    assert rows["in"] == landing.rows
    assert rows["quarantined"] == dict(landing.quarantined)
    assert rows["kept"] == (len(landing.texts) if near_duplicates is None else landing.stories)
    assert rows["in"] == rows["kept"] + rows["duplicates"] + sum(rows["quarantined"].values())
    assert len(kept) == len(set(kept)) == rows["kept"]


@settings(max_examples=2)
@given(files=FILES, order=st.randoms(use_true_random=False))
def test_any_number_of_workers_makes_the_same_manifest(files: list[File], order: Random) -> None:
    """In stores that know nothing of each other: 1, 2 and 4 groups and threads, groups in any order, one digest."""
    with _memory() as folder:
        landing = Landing(folder / "zone", files)
        stores = {workers: _new(folder / f"{workers}", landing) for workers in (1, 2, 4)}
        digests = {night(store, landing, workers=n, order=order).digest for n, store in stores.items()}

    assert len(digests) == 1


def _killed_then_whole(start: Path, landing: Landing, numbers: list[int]) -> tuple[int, str, dict[str, int]]:
    """Have a night die at each of these writes, one try after the other, then end.

    Returns how often it died, the data set's digest and what the store holds.
    """
    place = start.with_name("killed")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(start, place)
    deaths = 0
    for number in numbers:
        store = _open(place)
        _die_at(store, number)
        try:
            night(store, landing, workers=2)
        except Killed:
            deaths += 1
    return deaths, night(_open(place), landing, workers=2).digest, _contents(place)


@contextmanager
def _undisturbed() -> Iterator[tuple[Path, Landing, str, dict[str, int]]]:
    """Give a store to start from, the files to read, and what a night that nobody kills makes of them."""
    with _memory() as folder:
        landing = Landing(folder / "zone", [EARLIER])
        _new(folder / "start", landing)
        _, digest, held = _killed_then_whole(folder / "start", landing, [])
        yield folder / "start", landing, digest, held


@settings(max_examples=4, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(numbers=st.lists(st.integers(0, 100), min_size=1, max_size=3))
def test_a_night_killed_again_and_again_ends_as_if_undisturbed(numbers: list[int]) -> None:
    """The same digest, and in the store the same keys: nothing is lost, nothing is there twice."""
    with _undisturbed() as (start, landing, digest, held):
        _, found, left = _killed_then_whole(start, landing, numbers)

    assert found == digest
    assert left == held


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "step",
    [pytest.param(1, marks=[pytest.mark.faults, pytest.mark.slow]), pytest.param(5, marks=pytest.mark.integration)],
)
def test_a_kill_at_every_write_changes_nothing(step: int) -> None:
    """Killed before the first write and after each, or each fifth, then run again: it ends as if it had never died."""
    wrong = []
    with _undisturbed() as (start, landing, digest, held):
        for number in itertools.count(step=step):
            deaths, found, left = _killed_then_whole(start, landing, [number])
            if (found, left) != (digest, held):
                wrong.append(number)
            if not deaths:
                break

    assert wrong == []
    assert number > 60
