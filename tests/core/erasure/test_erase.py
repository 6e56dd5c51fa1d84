"""A person is forgotten: from the record of it to the last object of the last endpoint."""

from __future__ import annotations

import datetime
import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.anonymisation.pseudonyms import key_id, pseudonym
from operators.core.deployment.releases import ReleaseLine, Wanted
from operators.core.erasure.erase import (
    look_again,
    look_for_recorded,
)
from operators.core.erasure.holders import State
from operators.core.errors import DataError, StorageError
from operators.core.manifest import Manifest
from operators.core.progress import no_progress
from operators.core.settings import StorageSettings
from operators.core.storage import Store, open_store
from operators.core.storage.audit import trail
from operators.core.storage.erasures import (
    ErasedRow,
    Erasure,
    erased_rows,
    erasures,
    live_releases,
    made_live,
    put_on_record,
)
from operators.core.storage.graph import closure, objects, sources
from operators.core.storage.holds import Hold, lift_hold, place_hold
from tests.core.erasure.nights import (
    ADDRESS,
    NUMBER,
    RECIPE,
    SOURCE,
    copy_of,
    make_dataset,
    night,
    place,
    rows_of,
)
from tests.core.erasure.steps import collect, forget, look, record, traces_in
from tests.core.mails import DAY, KEY, land, mail
from tests.core.recovery.conftest import new_store
from tests.core.signers import TRUSTED
from tests.core.storage.flaky import cut_off
from tests.leaks import objects_of

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
ROW = f"ham/{NUMBER:05d}"
ALL = frozenset(10 * day + number for day in range(4) for number in range(8))
"""Numbers of the mails that landed."""


def part_of(store: Store, dataset: Manifest, day: datetime.date) -> Manifest:
    """Return the part of a day."""
    parts = [store.manifest(item.manifest or "") for item in dataset.inputs_of("part")]
    return next(part for part in parts if part.spec["day"] == day.isoformat())


def test_a_report_names_all_that_was_made_of_the_row_and_writes_nothing(store: Store, landing: Path) -> None:
    """The row in its landing file, part and shard, and everything below them in the lineage."""
    night(store, landing)
    before = dict(objects_of(store.membership))
    found = look(store, landing, ADDRESS)

    assert found.rows == {ErasedRow(source="mail", day=str(DAY - datetime.timedelta(days=1)), id=ROW, key=key_id(KEY))}
    assert [(file.path.split("/")[1], file.rows) for file in found.landing] == [("dt=2002-09-25", (4,))]
    assert sorted(file.stage for file in found.files) == ["ingest_file", "publish_dataset"]
    assert [holder.stage for holder in found.lineage.holders] == [
        "evaluate",
        "fine_tune",
        "gate",  # before anything was live
        "gate",  # of the live model itself
        "ingest_file",
        "publish_dataset",
        "release",
    ]
    # The second verdict let nothing go live that was not: no release is made of it.
    assert Counter(holder.state for holder in found.lineage.holders) == {State.LIVE: 6, State.KEPT: 1}
    assert found.lineage.live == {RECIPE: str(DAY)}
    assert dict(objects_of(store.membership)) == before


def test_after_forgetting_a_run_and_a_collection_nothing_holds_the_row(
    store: Store, storage_settings: StorageSettings, backup: Store, landing: Path
) -> None:
    """No object of any endpoint, decoded, holds its pseudonym or its text; the live release is whole."""
    night(store, landing)
    found = look(store, landing, ADDRESS)
    assert traces_in(store) != set()
    record(store, backup, found)
    release = night(store, landing)
    forget(store, found)
    store.close()
    collect(storage_settings)
    store = open_store(storage_settings)

    assert traces_in(store) == set()
    (dataset,) = [one for one in made_live(store).values() if one.stage == "publish_dataset"]
    rows = dataset.facts["rows"]
    assert (rows["in"], rows["kept"], rows["duplicates"], rows["quarantined"]) == (32, 31, 0, {"erased": 1})
    assert len(rows_of(store, dataset)) == 31
    assert live_releases(store) == {RECIPE: release}
    assert look_for_recorded(store, [place(landing)], KEY, no_progress).is_held_by_nothing


@pytest.mark.integration
@settings(max_examples=3, deadline=None)
@given(numbers=st.sets(st.sampled_from(sorted(ALL)), min_size=1, max_size=8))
def test_whoever_is_forgotten_nothing_holds_their_rows(first_night: Path, numbers: set[int]) -> None:
    """For any set of people: their pseudonyms are in no object, and every other row is in the data set."""
    people = [f"kre{number}@munnari.oz.au" for number in sorted(numbers)]
    with tempfile.TemporaryDirectory() as name:
        folder, storage = Path(name), copy_of(first_night, Path(name))
        landing = Path(shutil.copytree(first_night / "landing", folder / "landing"))
        store, backup = open_store(storage), new_store(folder / "backup", 1, 1)
        for person in people:
            record(store, backup, look(store, landing, person))
        night(store, landing)
        forget(store, look_for_recorded(store, [place(landing)], KEY, no_progress))
        store.close()
        collect(storage)
        store = open_store(storage)
        (dataset,) = [one for one in made_live(store).values() if one.stage == "publish_dataset"]

        assert traces_in(store, [pseudonym("address", person, KEY) for person in people]) == set()
        assert {row["id"] for row in rows_of(store, dataset)} == {f"ham/{number:05d}" for number in ALL - numbers}


def test_only_the_part_that_held_the_row_is_made_anew(store: Store, backup: Store, landing: Path) -> None:
    """Every other day's part keeps its digest; the next run finds them all."""
    before = make_dataset(store, landing).manifest
    record(store, backup, look(store, landing, ADDRESS))
    after = make_dataset(store, landing).manifest
    days = [DAY - datetime.timedelta(days=back) for back in range(4)]

    assert [part_of(store, before, day).digest != part_of(store, after, day).digest for day in days] == [
        False,
        True,
        False,
        False,
    ]
    assert make_dataset(store, landing).found


def test_nothing_is_forgotten_while_it_is_live(store: Store, backup: Store, landing: Path) -> None:
    """The live release and the one to roll back to stay until a release without the row is live."""
    night(store, landing)
    found = look(store, landing, ADDRESS)
    record(store, backup, found)

    assert forget(store, found) == 0
    assert ReleaseLine(store, RECIPE).live is not None
    night(store, landing)
    assert forget(store, found) > 0


def test_a_second_forgetting_finds_nothing_to_do(store: Store, backup: Store, landing: Path) -> None:
    """Run twice, each step leaves one entry on record and one on the trail."""
    night(store, landing)
    found = look(store, landing, ADDRESS)
    record(store, backup, found)
    record(store, backup, look(store, landing, ADDRESS))
    night(store, landing)
    forget(store, found)

    assert forget(store, found) == 0
    assert [bool(erasure.rows) for erasure in erasures(store).values()] == [True, False]
    assert [entry.change.action for entry in trail(store)] == ["erase", "forget"]
    assert look(store, landing, ADDRESS).unrecorded == frozenset()


def test_a_hold_wins_and_is_told(store: Store, storage_settings: StorageSettings, backup: Store, landing: Path) -> None:
    """What a hold reaches is read after the collection as before; lifted, the next forgetting has it."""
    held = night(store, landing)
    place_hold(store.membership, store.record, Hold(manifest=held, reason="case 12"))
    found = look(store, landing, ADDRESS)
    record(store, backup, found)
    night(store, landing)
    forget(store, found)
    store.close()
    collect(storage_settings)
    store = open_store(storage_settings)
    held_now = look_again(store, found).lineage

    assert held_now.is_held
    assert {holder.why for holder in held_now.holders if holder.state is State.HELD} == {"case 12"}
    assert traces_in(store) != set()
    lift_hold(store.membership, store.record, held)
    forget(store, found)
    store.close()
    collect(storage_settings)
    assert traces_in(open_store(storage_settings)) == set()


def test_a_hold_that_comes_after_the_forgetting_still_keeps(
    store: Store, storage_settings: StorageSettings, backup: Store, landing: Path
) -> None:
    """The collector looks at holds last."""
    held = night(store, landing)
    found = look(store, landing, ADDRESS)
    record(store, backup, found)
    night(store, landing)
    forget(store, found)
    place_hold(store.membership, store.record, Hold(manifest=held, reason="case 12"))
    store.close()
    collect(storage_settings)

    assert traces_in(open_store(storage_settings)) != set()


def test_an_unknown_subject_is_nowhere(store: Store, landing: Path) -> None:
    """Nobody of that address: no row, no file, nothing below."""
    night(store, landing)
    found = look(store, landing, "nobody@example.org")

    assert found.is_nothing
    assert found.is_held_by_nothing


def test_a_row_is_known_by_its_id(store: Store, landing: Path) -> None:
    """By the id alone, and only on the day that is named."""
    make_dataset(store, landing)
    day = DAY - datetime.timedelta(days=1)

    assert {row.id for row in look(store, landing, row=ROW).rows} == {ROW}
    assert look(store, landing, row=ROW, day=str(day)).rows == look(store, landing, row=ROW).rows
    assert look(store, landing, row=ROW, day=str(DAY)).is_nothing


def test_a_row_is_found_when_its_landing_file_is_gone(store: Store, landing: Path) -> None:
    """By the pseudonym in its text."""
    make_dataset(store, landing)
    for path in landing.rglob("*.zst"):
        path.unlink()
    found = look(store, landing, ADDRESS)

    assert {row.id for row in found.rows} == {ROW}
    assert found.landing == ()


def test_a_mail_that_names_its_sender_in_its_headers_only_is_found(store: Store, landing: Path) -> None:
    """Nothing of the headers is stored: the landing zone knows the sender, the store the row by its id."""
    land(landing, DAY, [mail(NUMBER, body="no name here")], name="quiet")
    make_dataset(store, landing)
    found = look(store, landing, ADDRESS)

    assert {(row.day, row.id) for row in found.rows} == {(str(DAY), ROW), (str(DAY - datetime.timedelta(days=1)), ROW)}
    assert sum(file.rows for file in found.files if file.stage == "ingest_file") == 2


def test_a_row_that_is_delivered_again_stays_out(store: Store, backup: Store, landing: Path) -> None:
    """The owner mends another row of the file: its content is new, the erased row in it is not."""
    make_dataset(store, landing)
    record(store, backup, look(store, landing, ADDRESS))
    day = DAY - datetime.timedelta(days=1)
    land(
        landing, day, [mail(10 + number, body=f"mended {number} kre{10 + number}@munnari.oz.au") for number in range(8)]
    )
    dataset = make_dataset(store, landing).manifest

    assert dataset.facts["rows"]["quarantined"] == {"erased": 1}
    assert ROW not in {row["id"] for row in rows_of(store, dataset)}


def test_rows_erased_under_another_key_stop_the_run(store: Store, landing: Path) -> None:
    """An id that is a pseudonym cannot be recognised under another key: nobody may go on as if it were not there."""
    row = ErasedRow(source=SOURCE.folder, day=str(DAY), id=pseudonym("id", "an odd id", KEY), key="0" * 16)
    put_on_record(store, Erasure(reason="request 7", by="tester", rows=(row,)))

    with pytest.raises(DataError, match="another key"):
        make_dataset(store, landing)
    put_on_record(store, Erasure(reason="request 7", by="tester", rows=(replace(row, key=key_id(KEY)),)))
    assert make_dataset(store, landing).manifest.facts["rows"]["kept"] == 32


def test_what_was_forgotten_does_not_go_live_again(store: Store, backup: Store, landing: Path) -> None:
    """Neither by a rollback, nor by an old task that is cleared."""
    release = night(store, landing)
    verdict = store.manifest(release).input("verdict").manifest
    found = look(store, landing, ADDRESS)
    record(store, backup, found)
    night(store, landing)
    assert ReleaseLine(store, RECIPE).former is not None
    forget(store, found)

    assert ReleaseLine(store, RECIPE).former is None
    with pytest.raises(DataError, match="erased since"):
        Wanted.read(store, RECIPE, verdict or "", TRUSTED)


def test_one_endpoint_away_does_not_stop_an_erasure(store: Store, backup: Store, landing: Path) -> None:
    """Two of three acknowledge: the report and the record are made."""
    make_dataset(store, landing)
    cut_off(store, "site_c")
    record(store, backup, look(store, landing, ADDRESS))

    assert {row.id for row in erased_rows(store)} == {ROW}


def test_without_the_backup_store_nothing_is_on_record(
    store: Store, backup: Store, landing: Path, tmp_path: Path
) -> None:
    """A retryable error; when it is back the same goes on, and both stores have the record once."""
    make_dataset(store, landing)
    found = look(store, landing, ADDRESS)
    (tmp_path / "backup" / "e0").rename(tmp_path / "elsewhere")
    with pytest.raises(StorageError) as caught:
        record(store, backup, found)
    assert caught.value.retry_can_help
    assert erased_rows(store) == frozenset()

    (tmp_path / "elsewhere").rename(tmp_path / "backup" / "e0")
    record(store, backup, found)
    assert erased_rows(store) == erased_rows(backup) == found.rows


def test_an_erasure_that_was_killed_before_it_was_noted_goes_on(store: Store, backup: Store, landing: Path) -> None:
    """The record stands on the backup only, or on both and not on the trail: the next try adds what is missing."""
    make_dataset(store, landing)
    found = look(store, landing, ADDRESS)
    rows = tuple(found.rows)
    put_on_record(backup, Erasure(reason="request 7", by="tester", rows=rows))
    put_on_record(store, Erasure(reason="request 7", by="tester", rows=rows))
    assert trail(store) == []
    record(store, backup, found)

    assert len(erasures(store)) == len(erasures(backup)) == len(trail(store)) == 1


def test_the_record_holds_ids_and_no_trace_of_the_person(store: Store, backup: Store, landing: Path) -> None:
    """Neither store's record has the address, its pseudonym or the text."""
    make_dataset(store, landing)
    record(store, backup, look(store, landing, ADDRESS))

    assert traces_in(backup) == set()
    (record_on_file,) = erasures(backup).values()
    assert [row.id for row in record_on_file.rows] == [ROW]


def test_the_collector_never_takes_what_is_live(store: Store, storage_settings: StorageSettings, landing: Path) -> None:
    """Whatever is on record as forgotten: the live release reads as before."""
    release = night(store, landing)
    made = closure(store, [release], follow=sources)
    before = {entry.stored_sha256: store.read(entry) for entry in objects(made).values()}
    put_on_record(store, Erasure(reason="a mistake", by="tester", forgotten=tuple(made)))
    store.close()
    collect(storage_settings)
    store = open_store(storage_settings)

    assert {entry.stored_sha256: store.read(entry) for entry in objects(made).values()} == before
