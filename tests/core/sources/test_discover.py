"""A window is listed by digest, in groups."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pytest

from operators.core.errors import DataError
from operators.core.progress import no_progress
from operators.core.sources.discover import discover, paths_of
from operators.core.sources.landing import LandingZone
from operators.core.sources.listing import LISTING_NAME, Selection, SourceFile, decode_listing
from operators.core.storage import Result, Store
from tests.core.mails import DAY, SOURCE, at, land, mail


def _discover(store: Store, folder: Path, last: datetime.date = DAY, days: int = 10, groups: int = 2) -> list[Result]:
    return discover(
        store,
        landing=at(folder),
        spec=SOURCE,
        first_day=last - datetime.timedelta(days=days - 1),
        last_day=last,
        progress=no_progress,
        groups=groups,
    )


def _listed(store: Store, results: list[Result]) -> list[SourceFile]:
    return [file for r in results for file in decode_listing(store.read(r.manifest.file(LISTING_NAME)))]


def test_every_file_of_the_window_is_listed_once(store: Store, tmp_path: Path) -> None:
    """Files of the window fall into exactly one group, files outside it into none."""
    for n in range(14):
        land(tmp_path, DAY - datetime.timedelta(days=n), [mail(n)])
    results = _discover(store, tmp_path, groups=3)

    days = sorted(file.day for file in _listed(store, results))
    assert days == [DAY - datetime.timedelta(days=n) for n in range(9, -1, -1)]
    assert len(results) == 3


def test_a_second_listing_is_found(store: Store, tmp_path: Path) -> None:
    """The same files give the same run key, and nothing is made again."""
    land(tmp_path, DAY, [mail(1)])
    first = _discover(store, tmp_path)

    assert [(r.digest, r.found) for r in _discover(store, tmp_path)] == [(first[0].digest, True)]


def test_a_day_without_data_gives_nothing(store: Store, tmp_path: Path) -> None:
    """Without a file on its last day a window has no listing, however full the days before."""
    land(tmp_path, DAY - datetime.timedelta(days=1), [mail(1)])

    assert _discover(store, tmp_path) == []


def test_a_source_that_is_not_there_is_no_quiet_day(store: Store, tmp_path: Path) -> None:
    """A wrong folder or bucket is an error: night after night would be skipped otherwise."""
    with pytest.raises(DataError, match="no folder 'mail'"):
        _discover(store, tmp_path)


def test_folders_below_a_day_are_columns(tmp_path: Path) -> None:
    """Files lie as deep as the spec says; others, unfinished ones and markers are left out."""
    day = tmp_path / "mail" / f"dt={DAY}"
    for name in ("label=ham/a.jsonl", "label=spam/b.jsonl.gz", "label=ham/_c.jsonl", "label=ham/.d.jsonl", "e.jsonl"):
        (day / name).parent.mkdir(parents=True, exist_ok=True)
        (day / name).write_bytes(b"{}")
    (day / "label=ham" / "f.csv").touch()
    found = paths_of(LandingZone(at(tmp_path)), replace(SOURCE, partition_columns=("label",)), DAY)

    assert [path.split("/", 2)[2] for path in found] == ["label=ham/a.jsonl", "label=spam/b.jsonl.gz"]


def test_all_files_that_cannot_be_listed_are_named(store: Store, tmp_path: Path) -> None:
    """Not the first alone: their owner mends them once."""
    for name in ("a\nb", "c"):
        land(tmp_path, DAY, [mail(1)], name=name)
    (tmp_path / "mail" / f"dt={DAY}" / "d.jsonl").symlink_to("/etc/passwd")

    with pytest.raises(DataError, match=r"2 files are refused: .*a\\nb.*; .*d\.jsonl: a link"):
        _discover(store, tmp_path)


def test_a_window_must_not_end_before_it_starts(store: Store, tmp_path: Path) -> None:
    """A negative window is refused."""
    with pytest.raises(ValueError, match="ends before it starts"):
        _discover(store, tmp_path, days=0)


def test_a_selection_survives_its_encoding() -> None:
    """Encoding and decoding a selection is the identity, and counts follow from it."""
    selection = Selection(rows=5, quarantined={1: "text_empty", 3: "text_empty", 4: "id_repeated"})

    assert Selection.decode(selection.encode()) == selection
    assert selection.counts == {"id_repeated": 1, "text_empty": 2}
