"""The table that a suite looks at: the source's columns, and what can be derived from a row without keeping it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from operators.core.sources.contents import read_content
from operators.core.sources.spec import ColumnType, Content, SourceSpec
from operators.core.sources.texts import joined_texts
from operators.core.validation.spec import ValidationSpec

_DTYPES = {
    ColumnType.TEXT: "object",
    ColumnType.INTEGER: "Int64",
    ColumnType.NUMBER: "float64",
    ColumnType.BOOLEAN: "object",
    ColumnType.TIMESTAMP: "datetime64[us, UTC]",
}
"""Each holds a missing value beside the others."""


def build_table(rows: pa.Table, spec: SourceSpec, suite: ValidationSpec, day: datetime.date) -> pd.DataFrame:
    """Return one line a row: every column that the rows have, and three derived ones.

    A column for whose values no expectation asks is there without any: texts would take twice their size in memory.
    What was not of its column's type is missing here, too; `wrong_type`, which comes with the rows, names the column.
    `text_characters` is the length of the decoded text, `decodable` whether it could be, and
    `sent_offset_days` the days from arrival to what the row says of its sending (negative: sent before; missing: it
    says nothing readable).

    Args:
        rows: A block of the rows of one file, as `read_columns` has them.
        spec: What the source looks like.
        suite: What will be asked of the table.
        day: The day of arrival, from the file's partition; noon UTC stands for it.
    """
    dtypes = {column.name: _DTYPES[column.type] for column in spec.columns}
    columns: dict[str, pd.Series[Any]] = {}
    for name in sorted(rows.column_names):
        is_asked = any(expectation.asks_for(name) for expectation in suite.expectations)
        values = rows[name].to_pylist() if is_asked else [None] * rows.num_rows
        columns[name] = pd.Series(values, dtype=dtypes.get(name, "object"))
    noon = datetime.datetime.combine(day, datetime.time(12), tzinfo=datetime.UTC)
    lengths, decodable, sent = _read_mails(rows, spec) if spec.content is Content.MAIL else _read_plain(rows, spec)
    offsets = [(moment - noon).total_seconds() / 86400 if moment else None for moment in sent]
    columns["text_characters"] = pd.Series(lengths, dtype="int64")
    columns["decodable"] = pd.Series(decodable, dtype="bool")
    columns["sent_offset_days"] = pd.Series(offsets, dtype="float64")
    return pd.DataFrame(columns)


_Derived = tuple[Sequence[int], Sequence[bool], Sequence[datetime.datetime | None]]
"""Of each row the length of its text, whether it could be decoded, and when it says that it was sent."""


def _read_mails(rows: pa.Table, spec: SourceSpec) -> _Derived:
    contents = [read_content(row, spec) for row in rows.to_pylist()]
    return [len(c.text) for c in contents], [c.decodable for c in contents], [c.sent for c in contents]


def _read_plain(rows: pa.Table, spec: SourceSpec) -> _Derived:
    lengths = [
        length for batch in rows.to_batches() for length in pc.utf8_length(joined_texts(batch, spec)).to_pylist()
    ]
    return [length or 0 for length in lengths], [length is not None for length in lengths], [None] * len(lengths)
