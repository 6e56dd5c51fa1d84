"""Scrub finds every flaw of a copy, mends it from a good one, and raises no false alarm."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.core.errors import QuorumLost
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.settings import StorageSettings
from operators.core.storage import Store, initialise, open_store
from operators.core.storage.scrub import PARTS, Pace, part_of, scrub
from tests.core.storage.flaky import cut_off
from tests.core.storage.test_resync import folder_of, wipe

ALL = range(PARTS)


def filled(storage_settings: StorageSettings, files: int = 6) -> Store:
    """Return a store with some files, a committed manifest and a stream."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    entries = tuple(store.put_bytes(f"{number}.bin", bytes([number]) * 1000) for number in range(files))
    result = store.commit(Manifest.of(StageCall(stage="test", revision=1), Made(files=entries)))
    store.stream("versions").append(result.digest, None)
    # Its pin would be a key more.
    store.close()
    return open_store(storage_settings)


def copies(settings: StorageSettings, store: Store) -> list[Path]:
    """Return the path of every copy of every key below an incarnation."""
    tops = [folder_of(settings, line.name) / line.incarnation for line in store.record.members]
    return sorted(path for top in tops for path in top.rglob("*") if path.is_file())


def test_a_sound_store_is_clean(storage_settings: StorageSettings) -> None:
    """No false alarm, light or deep, and every copy is read once."""
    store = filled(storage_settings)

    report = scrub(store.membership, parts=ALL)

    assert report.is_clean
    assert not report.flaws
    assert report.keys == 9
    assert report.read_copies == 27


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_every_flaw_is_found_and_mended_bit_for_bit(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Bits flipped, copies cut, swapped and deleted, at most two of a key: one deep scrub finds all, the next none."""
    random, folder = Random(seed), tmp_path_factory.mktemp("s")
    storage = StorageSettings.from_json(_three_folders(folder))
    store = filled(storage)
    before = {path: path.read_bytes() for path in copies(storage, store)}
    harmed = _harm(random, store, storage)

    report = scrub(store.membership, parts=ALL)

    assert report.flaws.total() == len(harmed)
    assert report.repaired == len(harmed)
    assert report.is_clean
    after = {path: path.read_bytes() for path in before}
    assert after == before
    assert not scrub(store.membership, parts=ALL).flaws


def test_a_light_scrub_sees_missing_and_cut_copies_without_reading(storage_settings: StorageSettings) -> None:
    """Listings alone show them."""
    store = filled(storage_settings)
    first, second = [path for path in copies(storage_settings, store) if "/obj/" in str(path)][:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])

    report = scrub(store.membership)

    assert report.read_copies == 0
    assert report.repaired == 2
    assert report.is_clean


def test_what_has_no_good_copy_is_named_and_never_deleted(storage_settings: StorageSettings) -> None:
    """All copies damaged: the key is lost, its bad copies stay."""
    store = filled(storage_settings)
    victim = next(path for path in copies(storage_settings, store) if "/obj/" in str(path))
    every = [path for path in copies(storage_settings, store) if path.name == victim.name]
    for path in every:
        path.write_bytes(b"x" * 1000)

    report = scrub(store.membership, parts=ALL)

    assert {flaw.key.rsplit("/", 1)[1] for flaw in report.lost} == {victim.name}
    assert len(report.lost) == 3
    assert all(path.exists() for path in every)
    assert not report.is_clean


def test_a_bad_copy_is_kept_as_evidence(storage_settings: StorageSettings) -> None:
    """What was there lies under quarantine after the repair, and later scrubs leave it alone."""
    store = filled(storage_settings)
    victim = next(path for path in copies(storage_settings, store) if "/obj/" in str(path))
    victim.write_bytes(b"x" * 1000)

    scrub(store.membership, parts=ALL)

    kept = [path for path in copies(storage_settings, store) if "quarantine" in path.parts]
    assert [path.read_bytes() for path in kept] == [b"x" * 1000]
    assert scrub(store.membership, parts=ALL).is_clean


def test_without_repair_nothing_is_written(storage_settings: StorageSettings) -> None:
    """A look names the flaw and leaves it."""
    store = filled(storage_settings)
    victim = next(path for path in copies(storage_settings, store) if "/obj/" in str(path))
    victim.unlink()

    report = scrub(store.membership, repair=False)

    assert len(report.left) == 1
    assert not victim.exists()


def test_a_wiped_endpoint_is_a_stranger_not_a_thousand_flaws(storage_settings: StorageSettings) -> None:
    """It needs a resync, and scrub says so; copies are never put on an endpoint that does not count."""
    store = filled(storage_settings)
    wipe(storage_settings, "site_b")

    report = scrub(store.membership, parts=ALL)

    assert report.strangers == ("site_b",)
    assert not report.flaws
    assert not report.is_clean
    cut_off(store, "site_c")
    with pytest.raises(QuorumLost):
        scrub(store.membership)


def test_a_part_a_night_reads_every_key_once_in_a_round(storage_settings: StorageSettings) -> None:
    """The parts are a partition of the keys, evenly enough."""
    keys = [f"obj/{number:064x}" for number in range(25_600)]
    sizes = [sum(part_of(key) == part for key in keys) for part in range(0, PARTS, 32)]

    assert all(60 < size < 140 for size in sizes)


def test_the_pace_holds_reading_down() -> None:
    """A megabyte at a hundred kilobytes a second takes ten seconds."""
    now = [0.0]
    pace = Pace(100_000, clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))

    for _ in range(10):
        pace.spend(100_000)

    assert now[0] == pytest.approx(10.0)


def _three_folders(folder: Path) -> str:
    import json

    for name in ("site_a", "site_b", "site_c"):
        (folder / name).mkdir()
    return json.dumps(
        {"endpoints": [{"name": n, "url": f"file://{folder / n}"} for n in ("site_a", "site_b", "site_c")]}
    )


def _harm(random: Random, store: Store, storage: StorageSettings) -> set[Path]:
    """Damage up to two of the three copies of some keys; return the copies."""
    by_key: dict[str, list[Path]] = {}
    for path in copies(storage, store):
        incarnations = {line.incarnation for line in store.record.members}
        key = "/".join(path.parts[next(i for i, part in enumerate(path.parts) if part in incarnations) + 1 :])
        by_key.setdefault(key, []).append(path)
    harmed = set()
    for key in random.sample(sorted(by_key), random.randint(1, len(by_key))):
        for path in random.sample(by_key[key], random.randint(1, 2)):
            data = bytearray(path.read_bytes())
            kind = random.choice(["flip", "cut", "delete", "other"])
            if kind == "delete":
                path.unlink()
            elif kind == "cut":
                path.write_bytes(data[: random.randrange(len(data))])
            elif kind == "flip":
                data[random.randrange(len(data))] ^= 1 << random.randrange(8)
                path.write_bytes(data)
            else:
                path.write_bytes(b"the bytes of another key" * 3)
            harmed.add(path)
    return harmed
