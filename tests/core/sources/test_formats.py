"""Every format, plain and compressed, gives the rows that were written, each value of its column's type."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from operators.core.errors import DataError
from operators.core.sources.reader import SourceRows, read_rows
from operators.core.sources.spec import WRONG_TYPE, Column, ColumnType, CsvDialect, Format, SourceSpec
from tests.core.sources.files import AT, MAIL_SPEC, PACK, ROWS, SPEC, csv_file, json_lines, mbox_file, parquet_file

MAKE = {Format.JSON_LINES: json_lines, Format.CSV: csv_file, Format.PARQUET: parquet_file}
FIRST = b"From: a@example.org\nX-Label: =?utf-8?q?h=C3=A4m?=\nSubject: One\n\nFrom here\n"
SECOND = b"Subject: Two\nX-Label: spam\nContent-Type: text/plain; charset=koi8-r\n\n\xf0\xd2\xc9\xd7\xc5\xd4\n"


def _spec(form: Format, **changes: Any) -> SourceSpec:
    return replace(SPEC, format=form, **changes)


def _read(data: bytes, form: Format, suffix: str = "", **changes: Any) -> SourceRows:
    return read_rows(data, f"notes/dt=2002-09-26/a.{form.value}{suffix}", _spec(form, **changes))


def _without_mark(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    assert {row[WRONG_TYPE] for row in rows} == {None}
    return [{name: value for name, value in row.items() if name != WRONG_TYPE} for row in rows]


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("form", MAKE)
def test_rows_come_back_as_they_were_written(form: Format, suffix: str) -> None:
    """Whatever the format and the compression, the same rows."""
    found = _read(PACK[suffix](MAKE[form](ROWS)), form, suffix)

    assert _without_mark(found.rows) == ROWS
    assert found.missing == ()


@pytest.mark.parametrize("suffix", PACK)
def test_mails_of_a_mailbox_are_rows(suffix: str, tmp_path: Path) -> None:
    """Each mail is a row: its digest as id, headers by name, `>From ` as it was, text by the charset it names."""
    found = read_rows(PACK[suffix](mbox_file(tmp_path, [FIRST, SECOND])), f"mail/dt=x/a.mbox{suffix}", MAIL_SPEC)
    first, second = found.rows

    assert first["id"] == hashlib.sha256(FIRST).hexdigest()
    assert (first["label"], second["label"]) == ("häm", "spam")
    assert (first["body"], second["body"]) == ("From here\n", "Привет\n")
    assert first["headers"].startswith("From: a@example.org")


def test_only_after_an_empty_line_a_mail_begins() -> None:
    """A line of the body may begin with `From `, and one `>` of a quoted one goes."""
    data = b"From x Thu Sep 26 2002\r\nA: b\r\n\r\nx\r\nFrom me\r\n>>From you\r\n\r\nFrom y\r\nC: d\r\n"
    found = read_rows(
        data, "mail/dt=x/a.mbox", replace(MAIL_SPEC, columns=(*MAIL_SPEC.columns, Column("c", header="C")))
    )

    assert [row["body"] for row in found.rows] == ["x\r\nFrom me\r\n>From you\r\n", ""]
    assert [row["c"] for row in found.rows] == [None, "d"]


@pytest.mark.parametrize("charset", ["KOI8-R", "x-unknown", "undefined", "zlib", "../../etc/passwd"])
def test_a_mail_may_name_any_charset(charset: str) -> None:
    """Also one that does not exist, in its headers and for its body: the mail is a row all the same."""
    raw = f"X-Label: =?{charset}?q?=F0?=\nContent-Type: text/plain; charset={charset}\n\n".encode() + b"\xf0\n"
    rows = read_rows(raw, "mail/dt=x/a.eml", replace(MAIL_SPEC, format=Format.EML)).rows

    assert rows[0]["body"] == ("П\n" if charset == "KOI8-R" else "ð\n")
    assert rows[0]["label"]


def test_a_mail_whose_charset_contradicts_itself_costs_no_mailbox() -> None:
    """What one sender wrote is no reason to lose the others' mails."""
    broken = b"From x\nContent-Type: text/plain; charset*=utf-8''a; charset*0*=b\n\nh\xe4\n\n"
    rows = read_rows(broken + b"From y\nSubject: x\n\nbody\n", "mail/dt=x/a.mbox", MAIL_SPEC).rows

    assert [row["body"].strip() for row in rows] == ["h\u00e4", "body"]


@pytest.mark.parametrize("suffix", PACK)
def test_a_mail_file_is_one_row(suffix: str) -> None:
    """An EML file gives its mail, with a header as its id where the spec names one."""
    columns = (Column("id", header="Message-ID"), *MAIL_SPEC.columns[1:])
    spec = replace(MAIL_SPEC, format=Format.EML, columns=columns)
    found = read_rows(PACK[suffix](b"Message-ID: <1@x>\n" + FIRST), f"mail/dt=x/a.eml{suffix}", spec)

    assert [(row["id"], row["label"]) for row in found.rows] == [("<1@x>", "häm")]


def test_folders_give_columns() -> None:
    """A folder below the day's names a column and its value, in every format."""
    rows = [{"id": "1", "text": "x"}]
    for form, make in MAKE.items():
        spec = _spec(form, columns=SPEC.columns[:3], partition_columns=("label",))
        found = read_rows(make(rows), f"notes/dt=2002-09-26/label=s%2Fpam/a.{form.value}", spec)

        assert _without_mark(found.rows) == [{"id": "1", "label": "s/pam", "text": "x"}]
        assert found.missing == ()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(
            ("id", 7),
            ("text", ["x"]),
            ("text", "\ud800"),
            ("count", 1.5),
            ("count", ""),
            ("count", True),
            ("count", 2**63),
        ),
        *(("score", "much"), ("score", float("inf")), ("seen", 1), ("at", "yesterday"), ("at", 7)),
    ],
)
def test_a_value_of_another_type_is_missing_and_marked(column: str, value: Any) -> None:
    """The row stays, without the value, and names the column; the others are untouched."""
    rows = _read(json_lines([ROWS[0], {**ROWS[0], column: value}]), Format.JSON_LINES).rows

    assert rows[0] == {**ROWS[0], WRONG_TYPE: None}
    assert rows[1] == {**ROWS[0], column: None, WRONG_TYPE: column}


@pytest.mark.parametrize(
    ("column", "value"), [("count", "1.5"), ("count", "9" * 19), ("score", "1_0"), ("seen", "yes"), ("at", "soon")]
)
def test_a_field_that_says_no_value_is_missing_and_marked(column: str, value: str) -> None:
    """CSV is read by the columns' types, not by guess."""
    rows = _read(csv_file([ROWS[0], {**ROWS[0], column: value}]), Format.CSV).rows

    assert rows[1] == {**ROWS[0], column: None, WRONG_TYPE: column}


def test_parquet_types_are_widened_or_marked() -> None:
    """Other widths, units and encodings of a type are read; what does not fit its 64 bits is marked."""
    table = pa.table(
        {
            "id": pa.array(["1", "2"]).dictionary_encode(),
            "label": pa.array(["a", "b"], pa.large_string()),
            "text": pa.array(["x", None]),
            "count": pa.array([1, 2**64 - 1], pa.uint64()),
            "score": pa.array([1, 2], pa.int32()),
            "seen": pa.array([None, None]),
            "at": pa.array([AT.replace(tzinfo=None)] * 2, pa.timestamp("ns")),
        }
    )
    rows = _read(parquet_file(table), Format.PARQUET).rows

    assert rows[0] == {
        **{"id": "1", "label": "a", "text": "x", "count": 1, "score": 1.0, "seen": None, "at": AT, WRONG_TYPE: None}
    }
    assert (rows[1]["count"], rows[1][WRONG_TYPE]) == (None, "count")


@pytest.mark.parametrize(("unit", "last"), [("s", 253402300800), ("ms", 253402300800000), ("us", -(2**63))])
def test_moments_beyond_the_calendar_are_marked(unit: str, last: int) -> None:
    """Years before 1 or after 9999 are no moments, in any unit."""
    columns = {"id": ["1"], "label": ["a"], "text": ["x"], "at": pa.array([last], pa.int64()).cast(pa.timestamp(unit))}
    row = _read(parquet_file(pa.table(columns)), Format.PARQUET).rows[0]

    assert (row["at"], row[WRONG_TYPE]) == (None, "at")


@pytest.mark.parametrize("kind", [pa.int64(), pa.list_(pa.string())])
def test_a_parquet_column_of_another_type_is_the_file_s_fault(kind: pa.DataType) -> None:
    """A schema that says another type is refused by name: no row of it could be right."""
    table = pa.table({"id": ["1"], "label": pa.array([None], kind), "text": ["x"]})
    with pytest.raises(DataError, match=r"column 'label' is (int64|nested) in the file and text in the recipe"):
        _read(parquet_file(table), Format.PARQUET)


@pytest.mark.parametrize("form", MAKE)
def test_columns_that_are_missing_are_told(form: Format) -> None:
    """No row has a value of a column that the file does not have, and the reader says which; others are not read."""
    found = _read(MAKE[form]([{"id": "1", "text": "x", "other": "y"}]), form, columns=SPEC.columns[:3])

    assert found.missing == ("label",)
    assert _without_mark(found.rows) == [{"id": "1", "label": None, "text": "x"}]


@pytest.mark.parametrize("form", MAKE)
def test_ids_are_read_in_one_form(form: Format) -> None:
    """Two ids that look alike are one id: the suite sees that it is repeated."""
    rows = [{**ROWS[0], "id": "\u212bngstrom"}, {**ROWS[0], "id": "A\u030angstrom"}]

    assert len({row["id"] for row in _read(MAKE[form](rows), form).rows}) == 1


def test_json_lines_may_begin_with_a_byte_order_mark() -> None:
    """Editors of Windows write one."""
    found = _read(b"\xef\xbb\xbf" + MAKE[Format.JSON_LINES](ROWS), Format.JSON_LINES)

    assert _without_mark(found.rows) == ROWS


def test_csv_is_read_by_its_dialect() -> None:
    """Delimiter, quote and byte order mark of the spec's dialect; an empty text is a text."""
    dialect = CsvDialect(delimiter=";", quote="'")
    data = csv_file(ROWS, dialect, "utf-8-sig")

    assert _without_mark(_read(data, Format.CSV, csv=dialect).rows) == ROWS


def test_many_rows_come_in_order_and_whole() -> None:
    """Batches and frames are seams that nobody sees."""
    rows = [{"id": str(n), "label": "a", "text": "ä" * (n % 50)} for n in range(20_000)]
    rows[7]["text"] = "x" * 8_000_000
    for form, make in MAKE.items():
        columns = tuple(Column(name, ColumnType.TEXT) for name in ("id", "label", "text"))

        assert _without_mark(_read(make(rows), form, columns=columns).rows) == rows
