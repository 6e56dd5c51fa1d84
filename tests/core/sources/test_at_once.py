"""What is read or normalised for many rows at once is what each by itself says."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from operators.core.errors import DataError, HostileInput
from operators.core.sources import json_lines
from operators.core.sources.contents import normalise
from operators.core.sources.job import ParseJob
from operators.core.sources.spec import Column, ColumnType, CsvDialect, Format, ReadLimits
from operators.core.sources.texts import normalised

TYPES = {"id": ColumnType.TEXT, "n": ColumnType.NUMBER, "i": ColumnType.INTEGER, "b": ColumnType.BOOLEAN}
JOB = ParseJob(
    format=Format.JSON_LINES,
    compression="",
    columns=(*(Column(name, kind) for name, kind in TYPES.items()), Column("t", ColumnType.TIMESTAMP)),
    id_column="id",
    csv=CsvDialect(),
    limits=ReadLimits(max_columns=7),
    constants={},
)
SPECIAL = [
    "1", "-0", "-0.0", "0", "1e3", "1.0", "1e999", "NaN", "-Infinity", "1" * 400, "9223372036854775808", "01", "true",
    "null", '"x"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"a\tb"', '"\u017f\ufb01"', '"2002-09-26T18:26:25Z"',
    "[1]", "{}", '{"a":1,"a":2}', "1}{", "", '"} {"', '"}\\n{"',
]  # fmt: skip
KEYS = ["id", "n", "i", "b", "t", "x", "y", "\\u0069d"]
MEMBER = some.tuples(some.sampled_from(KEYS), some.sampled_from(SPECIAL))
LINE = some.lists(MEMBER, max_size=4).map(lambda pairs: "{" + ", ".join(f'"{k}": {v}' for k, v in pairs) + "}")
SOUND = some.fixed_dictionaries(
    {},
    optional={
        "id": some.none() | some.text(),
        "n": some.none() | some.floats(allow_nan=False, allow_infinity=False) | some.integers(-(2**70), 2**70),
        "i": some.none() | some.integers(-(2**63), 2**63 - 1),
        "b": some.none() | some.booleans(),
        "t": some.none() | some.datetimes().map(str),
        "x": some.none() | some.text() | some.floats(allow_nan=False, allow_infinity=False),
    },
).map(json.dumps)


def _parsed(data: bytes) -> list[Any]:
    """Return all rows of a file and its missing columns, or why it is refused."""
    rows: list[Any] = []
    try:
        for part in json_lines.parse_json_lines(io.BytesIO(data), JOB):
            rows += part.to_pylist() if isinstance(part, pa.RecordBatch) else [part]
    except (DataError, HostileInput) as error:
        return [type(error), str(error)]
    return rows


@given(some.lists(LINE, min_size=1, max_size=3) | some.lists(SOUND, min_size=1, max_size=5))
@example(['{"id": "a"}{"id": "b"}', '{"id": "c"}'])
@example(['{"id": "a", "n":', "{}}"])
@example(['{"x": 1, "id": "a"}', '{"id": "b", "x": "1"}'])
@example(['{"n": -0}', '{"n": -0.0}'])
@example(['{"id": "a', '{"}{"id": "b"}'])
@example(['{"id": "a"}\r', '{"id": "b"} ', ""])
@example(['{"id":', '{"id": "b"}}{}'])
def test_a_block_read_at_once_says_what_its_lines_say(lines: list[str]) -> None:
    """The same rows, to the sign of a zero, or the same refusal at the same line."""
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    at_once = _parsed(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lines, "_at_once", lambda *_: None)
        by_line = _parsed(data)

    assert repr(at_once) == repr(by_line)


def test_sound_lines_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a line of a large file goes to the slow reader but the first of each block."""
    decode, decoded = json_lines._decode, []
    monkeypatch.setattr(json_lines, "_decode", lambda *of_line: decoded.append(1) or decode(*of_line))
    row = {"id": "a", "n": 1.5, "i": 7, "b": True, "t": "2002-09-26T18:26:25Z", "more": "x" * 200}
    rows = _parsed(f"{json.dumps(row)}\n".encode() * 20_000)

    assert len(rows) == 20_001 and rows[-1] == set()
    assert len(decoded) <= 8


@given(
    some.lists(some.none() | some.text(some.sampled_from("ab \n\t\x00\x7fé\u200b\uff21")), max_size=6),
    some.integers(0, 2),
)
def test_texts_normalised_together_are_as_each_by_itself(texts: list[str | None], start: int) -> None:
    """Also those that are cut out of a longer column."""
    found = normalised(pa.array(texts, pa.string()).slice(start))

    assert found.to_pylist() == [text and normalise(text) for text in texts[start:]]
