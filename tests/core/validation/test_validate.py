"""Files are held against the suite; rows are quarantined with a reason, and no report holds a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operators.core.errors import DataError, ExpectationFailed, SourceChanged
from operators.core.progress import no_progress
from operators.core.sources.discover import discover
from operators.core.sources.listing import SELECTION_NAME, Selection
from operators.core.sources.reader import Part, read_columns
from operators.core.sources.spec import Format
from operators.core.storage import Result, Store
from operators.core.validation.docs import render_page, write_index, write_page
from operators.core.validation.spec import Argument, Expectation, ValidationSpec
from operators.core.validation.validate import check_rows, validate
from tests.core.mails import DAY, SOURCE, SUITE, at, land, mail, pack
from tests.core.sources.files import ROWS, SPEC, csv_file, json_lines

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
SECRET = "planted@example.invalid"


def _listing(store: Store, folder: Path) -> str:
    results = discover(
        store,
        landing=at(folder),
        spec=SOURCE,
        first_day=DAY,
        last_day=DAY,
        progress=no_progress,
        groups=1,
    )
    return results[0].digest


def _read(rows: list[dict[str, Any]]) -> Iterator[Part]:
    return read_columns(pack(rows), "mail.jsonl.zst", SOURCE)


def _validate(store: Store, folder: Path, listing: str, spec: ValidationSpec = SUITE) -> tuple[Result, list[Result]]:
    files: list[Result] = []
    result = validate(
        store,
        listing=listing,
        landing=at(folder),
        source=SOURCE,
        spec=spec,
        progress=no_progress,
        each_file=files.append,
    )
    return result, files


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("label_unknown", {"label": SECRET}),
        ("text_empty", {"headers": "From: x", "body": " \n"}),
        ("undecodable", {"body": 7}),
        ("undecodable", {"headers": "From: " + "(" * 600}),
        ("date_far_from_arrival", {"headers": "Subject: x\nDate: Thu, 26 Sep 1980 18:26:25 +0700"}),
    ],
)
def test_a_bad_row_is_quarantined_with_its_reason(reason: str, changes: dict[str, object]) -> None:
    """One bad row of three is held back, for the right reason, and the others go on."""
    _, selection, _ = check_rows(_read([mail(0), mail(1, **changes), mail(2)]), SOURCE, SUITE, DAY)

    assert selection == Selection(rows=3, quarantined={1: reason})


def test_repeated_ids_are_quarantined() -> None:
    """Rows that share an id are held back, all of them: nobody knows which is meant."""
    _, selection, _ = check_rows(_read([mail(0), mail(0), mail(2)]), SOURCE, SUITE, DAY)

    assert selection.counts == {"id_repeated": 2}


def test_reports_and_pages_hold_no_value_of_a_row() -> None:
    """What is planted in every column of failing rows is in neither the report nor its page."""
    rows = [mail(0), mail(1, id=SECRET, label=SECRET), mail(2, id=SECRET, body=SECRET)]
    report, _, _ = check_rows(_read(rows), SOURCE, SUITE, DAY)
    page = render_page({"path": "mail/x", "day": "2002-09-26", **report})

    assert SECRET not in str(report)
    assert SECRET not in page
    assert "planted" not in page
    assert "be unique" in page


def test_a_missing_column_stops_the_run_and_leaves_its_report(store: Store, tmp_path: Path) -> None:
    """A file without a column breaks as a whole: an error that names it, and a page for its owner."""
    land(tmp_path, DAY, [{k: v for k, v in mail(0).items() if k != "label"}])
    listing = _listing(store, tmp_path)
    pages: list[Result] = []
    with pytest.raises(ExpectationFailed, match=r"mails.jsonl.zst: .*in_set\(label\)"):
        validate(
            store,
            listing=listing,
            landing=at(tmp_path),
            source=SOURCE,
            spec=SUITE,
            progress=no_progress,
            each_file=pages.append,
        )
    write_page(store, pages[0], tmp_path / "docs")
    write_index(tmp_path / "docs")

    assert pages[0].digest in (tmp_path / "docs" / "index.html").read_text()


def test_too_many_quarantined_rows_stop_the_run(store: Store, tmp_path: Path) -> None:
    """Where the source itself broke, nothing is trained on what little is left."""
    land(tmp_path, DAY, [mail(0), mail(1, label="eggs")])

    with pytest.raises(ExpectationFailed, match="1 of 2 rows"):
        _validate(store, tmp_path, _listing(store, tmp_path), replace(SUITE, max_quarantined_share=0.4))


def test_a_file_that_changed_after_it_was_listed_is_refused(store: Store, tmp_path: Path) -> None:
    """A moved digest is an error, and nothing of the new file is validated."""
    land(tmp_path, DAY, [mail(0)])
    listing = _listing(store, tmp_path)
    land(tmp_path, DAY, [mail(1)])

    with pytest.raises(SourceChanged, match="not what was listed"):
        _validate(store, tmp_path, listing)


def test_each_file_is_validated_once(store: Store, tmp_path: Path) -> None:
    """A second night finds the files of the first, and validates the new one only."""
    land(tmp_path, DAY, [mail(0), mail(1, label="eggs")])
    _validate(store, tmp_path, _listing(store, tmp_path))
    land(tmp_path, DAY, [mail(2)], name="more")
    result, files = _validate(store, tmp_path, _listing(store, tmp_path))

    assert [file.found for file in files] == [True, False]
    assert result.manifest.facts["rows_in"] == 3
    assert Selection.decode(store.read(files[0].manifest.file(SELECTION_NAME))).counts == {"label_unknown": 1}


def test_an_expectation_that_does_not_exist_is_named() -> None:
    """A misspelt expectation is a clear error, not a pass."""
    spec = ValidationSpec(expectations=(Expectation(kind="expect_the_best", column="id"),))
    with pytest.raises(DataError, match="expect_the_best"):
        check_rows(_read([mail(0)]), SOURCE, spec, DAY)


def _expect(column: str, kind: str, reason: str, **arguments: Argument) -> Expectation:
    return Expectation(
        kind=f"expect_column_values_to_{kind}", column=column, arguments=tuple(arguments.items()), reason=reason
    )


TYPED = ValidationSpec(
    expectations=(
        _expect("wrong_type", "not_be_in_set", "count_wrong_type", value_set=("count",)),
        _expect("wrong_type", "be_null", "wrong_type"),
        _expect("id", "be_unique", "id_repeated"),
        _expect("count", "be_between", "count_low", min_value=0),
        _expect("count", "be_in_set", "count_odd", value_set=(2, 4)),
        _expect("score", "be_between", "score_high", max_value=1.0),
        _expect("seen", "be_in_set", "unseen", value_set=(True,)),
        _expect("at", "not_be_null", "no_time"),
    ),
    max_quarantined_share=1.0,
)


def test_an_argument_that_could_change_is_refused() -> None:
    """A list says what to write instead of it: specs are compared, and part of run keys."""
    with pytest.raises(ValueError, match=r"value_set=\['ham'\]: .* a tuple"):
        Expectation.of_rows("label", "be_in_set", "label_unknown", value_set=["ham"])  # type: ignore[arg-type]


@pytest.mark.parametrize("form", [Format.JSON_LINES, Format.CSV])
def test_typed_columns_are_held_against_the_suite(form: Format) -> None:
    """Numbers, truth and time are compared as such; a value of another type costs its own row only."""
    sound = {**ROWS[0], "count": 2}
    changes: list[tuple[dict[str, object], str | None]] = [
        ({}, None),
        ({"count": "many"}, "count_wrong_type"),
        ({"score": "much"}, "wrong_type"),
        ({"count": -1}, "count_low"),
        ({"count": 3}, "count_odd"),
        ({"score": 1.5}, "score_high"),
        ({"seen": False}, "unseen"),
        ({"at": None}, "no_time"),
        ({"id": "\u212bngstrom"}, "id_repeated"),
        ({"id": "A\u030angstrom"}, "id_repeated"),
    ]
    rows = [{**sound, "id": str(number), **change} for number, (change, _) in enumerate(changes)]
    make = {Format.JSON_LINES: json_lines, Format.CSV: csv_file}[form]
    source = replace(SPEC, format=form)
    _, selection, _ = check_rows(read_columns(make(rows), f"a.{form.value}", source), source, TYPED, DAY)

    assert selection.quarantined == {number: why for number, (_, why) in enumerate(changes) if why is not None}


def test_a_missing_column_that_nothing_is_expected_of_stops_the_run(store: Store, tmp_path: Path) -> None:
    """Every file has every column of the spec: the suite need not say so."""
    land(tmp_path, DAY, [{k: v for k, v in mail(0).items() if k != "headers"}])

    with pytest.raises(ExpectationFailed, match=r"column_missing\(headers\)"):
        _validate(store, tmp_path, _listing(store, tmp_path))


def test_columns_that_only_arguments_name_are_looked_at() -> None:
    """Only what nothing asks for is left out of the table: a broken expectation on a pair of columns stays broken."""
    columns = (("column_A", "label"), ("column_B", "body"))
    pair = Expectation(kind="expect_column_pair_values_to_be_equal", arguments=columns)
    report, _, _ = check_rows(_read([mail(0)]), SOURCE, ValidationSpec(expectations=(pair,)), DAY)
    conditional = Expectation(kind="expect_x", column="id", arguments=(("row_condition", 'body=="planted"'),))

    assert report["expectations"][0]["success"] is False
    assert [name for name in ("id", "label", "body") if conditional.asks_for(name)] == ["id", "body"]
