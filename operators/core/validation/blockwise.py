"""A suite over a file that comes in blocks, with the verdict that it has over the whole of it.

What is asked of each row by itself is asked of a block at a time. What needs all rows (whether ids repeat, a mean) is
asked at the end, of a table of nothing but the columns in question, in which a text that must only differ is 16 bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from operators.core.sources.reader import Part
from operators.core.validation.spec import Expectation
from operators.core.validation.suite import Outcome, absent, run_suite

BLOCK_ROWS = 65_536
BLOCK_BYTES = 16 * 1024**2
"""Of rows in columns; a block ends with the batch that reaches either."""
_UNIQUE = "expect_column_values_to_be_unique"
_BY_ROW = frozenset(
    f"expect_column_{name}"
    for name in (
        *("values_to_be_in_set", "values_to_not_be_in_set", "values_to_be_null", "values_to_not_be_null"),
        *("values_to_match_regex", "values_to_not_match_regex", "values_to_match_regex_list"),
        *("values_to_not_match_regex_list", "values_to_be_between", "value_lengths_to_be_between"),
        *("value_lengths_to_equal", "values_to_be_json_parseable", "values_to_match_json_schema"),
        *("values_to_match_strftime_format", "values_to_be_dateutil_parseable"),
    )
)
"""Expectations that look at one row at a time. One that is not listed sees all rows at once: slower, never wrong."""
_DIGEST = np.dtype([("head", "<u8"), ("tail", "<u8")])


def blocks_of(parts: Iterable[Part]) -> Iterator[pa.Table | tuple[str, ...]]:
    """Yield a file's rows in blocks, an empty one if it has none, and the columns that it does not have."""
    waiting: list[pa.RecordBatch] = []
    is_empty = True
    for part in parts:
        if isinstance(part, tuple):
            yield part
            continue
        waiting.append(part)
        if sum(b.num_rows for b in waiting) >= BLOCK_ROWS or sum(b.nbytes for b in waiting) >= BLOCK_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, is_empty = [], False
    if waiting or is_empty:
        yield pa.Table.from_batches(waiting) if waiting else pa.table({})


class BlockwiseSuite:
    """A suite at work on one file."""

    def __init__(self, expectations: Sequence[Expectation]) -> None:
        self._expectations = expectations
        self._by_row = [one for one in expectations if one.kind in _BY_ROW]
        self._whole = [one for one in expectations if one.kind not in _BY_ROW]
        self._found: dict[Expectation, list[Outcome]] = {}
        self._columns: dict[str, list[Any]] = {}
        self.rows = 0

    def add(self, table: pd.DataFrame) -> None:
        """Look at the next block.

        Raises:
            DataError: An expectation cannot be evaluated.
        """
        for outcome in run_suite(table, self._by_row) if self._by_row else ():
            self._found.setdefault(outcome.expectation, []).append(_moved(outcome, self.rows))
        if self._whole:
            for name in table.columns:
                self._columns.setdefault(str(name), []).append(self._kept(table[name]))
        self.rows += len(table)

    def outcomes(self, missing: Collection[str]) -> list[Outcome]:
        """Return what every expectation found in all blocks, in the suite's order; the file lacks those columns.

        Raises:
            DataError: An expectation cannot be evaluated.
        """
        found = {expectation: _merged(many) for expectation, many in self._found.items()}
        if self._whole:
            columns = {name: self._joined(name, many) for name, many in self._columns.items() if name not in missing}
            found |= {one.expectation: one for one in run_suite(pd.DataFrame(columns), self._whole)}
        return [absent(one) if one.column in missing else found[one] for one in self._expectations]

    def _asking(self, column: str) -> list[Expectation]:
        return [one for one in self._whole if one.asks_for(column)]

    def _must_only_differ(self, column: str) -> bool:
        return all(
            one.kind == _UNIQUE and one.column == column and {name for name, _ in one.arguments} <= {"mostly"}
            for one in self._asking(column)
        )

    def _kept(self, values: pd.Series[Any]) -> Any:
        if not self._asking(str(values.name)):
            return None
        return _digests(values) if values.dtype == object and self._must_only_differ(str(values.name)) else values

    def _joined(self, column: str, kept: list[Any]) -> pd.Series[Any]:
        if isinstance(kept[0], np.ndarray):
            return _numbered(np.concatenate(kept))
        if kept[0] is None:
            # A byte a row.
            return pd.Series(pd.Categorical([None])).repeat(self.rows).reset_index(drop=True)
        values: pd.Series[Any] = pd.concat(kept, ignore_index=True)
        return values


def _moved(outcome: Outcome, rows: int) -> Outcome:
    """Return an outcome of rows that come after so many others."""
    failed = tuple(rows + row for row in outcome.failed_rows)
    return Outcome(expectation=outcome.expectation, success=outcome.success, counts=outcome.counts, failed_rows=failed)


def _merged(outcomes: Sequence[Outcome]) -> Outcome:
    """Return what an expectation on rows found in several blocks as Great Expectations says it of all of them."""
    if len(outcomes) == 1 or not outcomes[0].counts:  # of one block, or of a column that no block has
        return outcomes[0]
    expectation = outcomes[0].expectation
    counts = {name: sum(one.counts[name] for one in outcomes) for name in outcomes[0].counts if name.endswith("_count")}
    looked_at = counts["element_count"] - counts.get("missing_count", 0)
    if "missing_count" in counts:
        counts["missing_percent"] = counts["missing_count"] / counts["element_count"] * 100
    if looked_at:
        counts["unexpected_percent"] = counts["unexpected_count"] / looked_at * 100
    mostly = next((float(str(value)) for name, value in expectation.arguments if name == "mostly"), 1.0)
    success = not looked_at or (looked_at - counts["unexpected_count"]) / looked_at >= mostly
    failed = tuple(row for one in outcomes for row in one.failed_rows)
    return Outcome(expectation=expectation, success=success, counts=counts, failed_rows=failed)


def _digests(values: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.void]]:
    """Return of each value what tells it from any other, of type `_DIGEST`; zeros where it is missing."""
    each = (
        bytes(_DIGEST.itemsize)
        if value is None
        else hashlib.blake2b(str(value).encode("utf-8", "surrogatepass"), digest_size=_DIGEST.itemsize).digest()
        for value in values
    )
    return np.frombuffer(b"".join(each), _DIGEST)


def _numbered(digests: np.ndarray[Any, np.dtype[np.void]]) -> pd.Series[Any]:
    """Return a number for each digest, one for equal ones, missing where the value is."""
    order = np.lexsort((digests["tail"], digests["head"]))
    ordered = digests[order]
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(np.concatenate([[False], ordered[1:] != ordered[:-1]])[: len(order)])
    is_missing = (digests["head"] == 0) & (digests["tail"] == 0)
    return pd.Series(pd.arrays.IntegerArray(numbers, is_missing))
