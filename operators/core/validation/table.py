"""The table that a suite looks at: the source's columns, and what can be derived from a row without keeping it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from operators.core.sources.contents import read_content
from operators.core.sources.spec import ColumnType, SourceSpec

_DTYPES = {
    ColumnType.TEXT: "object",
    ColumnType.INTEGER: "Int64",
    ColumnType.NUMBER: "float64",
    ColumnType.BOOLEAN: "object",
    ColumnType.TIMESTAMP: "datetime64[us, UTC]",
}
"""Each holds a missing value beside the others."""


def build_table(rows: Sequence[Mapping[str, Any]], spec: SourceSpec, day: datetime.date) -> pd.DataFrame:
    """Return one line a row: every column that any row has, and three derived ones.

    What was not of its column's type is missing here; `wrong_type`, which comes with the rows, names the column.
    `text_characters` is the length of the decoded text, `decodable` whether it could be, and
    `sent_offset_days` the days from arrival to what the row says of its sending (negative: sent before; missing: it
    says nothing readable).

    Args:
        rows: The rows of one file.
        spec: What the source looks like.
        day: The day of arrival, from the file's partition; noon UTC stands for it.
    """
    seen = dict.fromkeys(name for row in rows for name in row)
    dtypes = {column.name: _DTYPES[column.type] for column in spec.columns}
    columns: dict[str, pd.Series[Any]] = {
        name: pd.Series([row.get(name) for row in rows], dtype=dtypes.get(name, "object")) for name in sorted(seen)
    }
    noon = datetime.datetime.combine(day, datetime.time(12), tzinfo=datetime.UTC)
    contents = [read_content(row, spec) for row in rows]
    offsets = [(c.sent - noon).total_seconds() / 86400 if c.sent else None for c in contents]
    columns["text_characters"] = pd.Series([len(c.text) for c in contents], dtype="int64")
    columns["decodable"] = pd.Series([c.decodable for c in contents], dtype="bool")
    columns["sent_offset_days"] = pd.Series(offsets, dtype="float64")
    return pd.DataFrame(columns)
