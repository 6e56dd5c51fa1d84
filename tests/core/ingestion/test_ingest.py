"""From landing files to a data set: nothing raw, nothing lost, the same bytes every time."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from operators.core.anonymisation.addresses import ADDRESS_PATTERN
from operators.core.errors import DataError, SourceChanged
from operators.core.ingestion.ingest import ingest
from operators.core.ingestion.publish import publish_dataset
from operators.core.ingestion.rows import cut
from operators.core.ingestion.spec import DatasetSpec, IngestionSpec
from operators.core.manifest import Manifest
from operators.core.progress import no_progress
from operators.core.sources.discover import discover
from operators.core.storage import Result, Store
from operators.core.validation.validate import validate
from tests.core.ingestion.parts import decode_rows, encode_rows
from tests.core.mails import DAY, KEY, POLICY, SOURCE, SUITE, at, land, mail

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")


def _validated(store: Store, folder: Path, groups: int = 2, last: datetime.date = DAY) -> list[str]:
    landing = at(folder)
    first = last - datetime.timedelta(days=9)
    listings = discover(
        store, landing=landing, spec=SOURCE, first_day=first, last_day=last, progress=no_progress, groups=groups
    )
    return [
        validate(store, listing=r.digest, landing=landing, source=SOURCE, spec=SUITE, progress=no_progress).digest
        for r in listings
    ]


def _ingest(store: Store, folder: Path, validation: str, **changes: Any) -> Result:
    settings = {"anonymisation": POLICY, "spec": IngestionSpec(), "key": KEY, **changes}
    return ingest(
        store,
        validation=validation,
        landing=at(folder),
        source=SOURCE,
        progress=no_progress,
        **settings,
    )


def _publish(store: Store, parts: list[str], spec: DatasetSpec | None = None) -> Result:
    return publish_dataset(
        store,
        parts=parts,
        recipe="tiny",
        day=DAY,
        spec=spec or DatasetSpec(test_share=0.3),
        key=KEY,
        progress=no_progress,
    )


def publish_window(store: Store, folder: Path, groups: int = 2) -> Result:
    """Take a landing zone from its files to a data set, `dataset-tiny`."""
    return _publish(store, [_ingest(store, folder, v).digest for v in _validated(store, folder, groups)])


def _rows(store: Store, manifest: Manifest) -> list[dict[str, Any]]:
    return [row for entry in manifest.files for row in decode_rows(store.read(entry))]


def _week(folder: Path) -> None:
    for n in range(6):
        rows = [mail(10 * n + k) for k in range(6)]
        rows += [mail(10 * n + 6, body="twin", headers=mail(0)["headers"]), mail(10 * n + 7, label="eggs")]
        land(folder, DAY - datetime.timedelta(days=n), rows)


def test_rows_in_are_kept_duplicate_or_quarantined(store: Store, tmp_path: Path) -> None:
    """Every row of the window is in exactly one of the three, and the splits hold exactly the kept ones."""
    _week(tmp_path)
    parts = [_ingest(store, tmp_path, v).digest for v in _validated(store, tmp_path)]
    facts = _publish(store, parts).manifest.facts

    counts = {"in": 48, "kept": 37, "duplicates": 5, "near_duplicates": 0, "quarantined": {"label_unknown": 6}}
    assert facts["rows"] == counts
    assert sum(facts["splits"].values()) == 37
    assert facts["labels"] == ["ham"]


def test_grouping_changes_nothing_and_a_second_run_finds_all(store: Store, tmp_path: Path) -> None:
    """One group or three: the same data set, found the second time, one entry in its stream."""
    _week(tmp_path)
    first = publish_window(store, tmp_path, groups=1)
    second = publish_window(store, tmp_path, groups=3)

    assert (second.digest, second.found) == (first.digest, True)
    assert [entry.manifest for entry in store.stream("dataset-tiny").entries()] == [first.digest]


def test_the_next_night_ingests_one_day(store: Store, tmp_path: Path) -> None:
    """Files that an earlier window held are found, the new day's file is made."""
    _week(tmp_path)
    earlier = _ingest(store, tmp_path, _validated(store, tmp_path, 1, DAY - datetime.timedelta(days=1))[0])
    later = _ingest(store, tmp_path, _validated(store, tmp_path, 1)[0])
    known = {item.manifest for item in earlier.manifest.inputs_of("file")}

    assert len({item.manifest for item in later.manifest.inputs_of("file")} - known) == 1


def test_nothing_raw_enters_the_store(store: Store, tmp_path: Path) -> None:
    """No column of any row holds an address, and the name in the From header is gone from the text."""
    _week(tmp_path)
    rows = _rows(store, publish_window(store, tmp_path).manifest)

    assert sorted(rows[0]) == ["day", "id", "label", "text"]
    assert not [row for row in rows for value in map(str, row.values()) if ADDRESS_PATTERN.search(value)]
    assert not [row for row in rows if "Robert" in row["text"]]


def test_twins_fall_on_one_side(store: Store, tmp_path: Path) -> None:
    """No text is in both splits, and a text keeps its side when the window grows."""
    _week(tmp_path)
    manifest = publish_window(store, tmp_path).manifest
    sides = {
        name: {
            row["text"]
            for entry in manifest.files
            if entry.name.startswith(name)
            for row in decode_rows(store.read(entry))
        }
        for name in ("train", "test")
    }

    assert sides["train"] and sides["test"]
    assert sides["train"] & sides["test"] == set()


def test_another_key_makes_other_data(store: Store, tmp_path: Path) -> None:
    """The key is part of the run key: a rotated one is never answered with the old one's pseudonyms."""
    _week(tmp_path)
    validation = _validated(store, tmp_path, 1)[0]
    one = _ingest(store, tmp_path, validation)
    two = _ingest(store, tmp_path, validation, key=b"another key of more than 16 bytes")

    assert one.manifest.identity != two.manifest.identity


def test_a_file_that_changed_after_validation_is_refused(store: Store, tmp_path: Path) -> None:
    """What is ingested is what was validated, or nothing is."""
    land(tmp_path, DAY, [mail(0)])
    validation = _validated(store, tmp_path)[0]
    land(tmp_path, DAY, [mail(1)])

    with pytest.raises(SourceChanged, match="not what was listed"):
        _ingest(store, tmp_path, validation)


def test_an_empty_split_is_an_error(store: Store, tmp_path: Path) -> None:
    """A window with one mail cannot be both learnt from and tested on."""
    land(tmp_path, DAY, [mail(0)])
    part = _ingest(store, tmp_path, _validated(store, tmp_path)[0]).digest

    with pytest.raises(DataError, match="widen the window"):
        _publish(store, [part])


def test_parquet_bytes_follow_from_the_rows_alone() -> None:
    """The order in which rows come changes no byte, and reading is the inverse of writing."""
    rows = [{"id": f"{n:03d}", "day": DAY, "text": f"text {n}", "label": "ham"} for n in range(50)]

    assert encode_rows(rows) == encode_rows(rows[::-1])
    assert decode_rows(encode_rows(rows)) == rows


@pytest.mark.parametrize(
    ("text", "left"), [("short", "short"), ("one two three", "one two"), ("a" * 20, ""), ("one twothree", "one")]
)
def test_a_cut_never_leaves_half_a_word(text: str, left: str) -> None:
    """A text is cut at white space: half an address would escape its recogniser."""
    assert cut(text, 9) == left
