"""A file's verdict does not depend on the blocks in which its rows were looked at."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from operators.core.sources.reader import Part
from operators.core.validation.spec import Expectation

with warnings.catch_warnings():
    # Great Expectations imports a module that Python has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from operators.core.validation import blockwise
    from operators.core.validation.blockwise import BlockwiseSuite, blocks_of
    from operators.core.validation.suite import report_of, run_suite

SUITE = (
    Expectation.of_file("row_count_to_be_between", min_value=2, max_value=8),
    Expectation.of_file("columns_to_match_set", column_set=("id", "label", "size", "unasked")),
    Expectation.of_rows("id", "be_unique", "id_repeated"),
    Expectation.of_rows("id", "not_be_null", "id_missing", mostly=0.5),
    Expectation.of_rows("label", "be_in_set", "label_unknown", value_set=("ham", "spam"), mostly=0.6),
    Expectation.of_rows("label", "be_null", "label_there"),
    Expectation.of_rows("size", "be_between", "size_far", min_value=0, max_value=10),
    Expectation(kind="expect_column_values_to_match_regex", column="id", arguments=(("regex", "^a"),)),
    Expectation(kind="expect_column_mean_to_be_between", column="size", arguments=(("min_value", 2),)),
    Expectation(kind="expect_column_pair_values_to_be_equal", arguments=(("column_A", "id"), ("column_B", "label"))),
    Expectation.of_rows("gone", "not_be_null", "gone_missing"),
)
"""Expectations of a row, of a column's values among each other, of a pair of columns and of the table."""
IDS = some.none() | some.sampled_from(["a", "ab", "b", "ham", "\u00e9"])
ROWS = some.lists(
    some.tuples(IDS, some.sampled_from([None, "ham", "spam", "eggs"]), some.none() | some.floats(-2, 12)), min_size=1
)


def _frame(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    ids, labels, sizes = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "id": pd.Series(ids, dtype="object"),
            "label": pd.Series(labels, dtype="object"),
            "size": pd.Series(sizes, dtype="float64"),
            "unasked": pd.Series([None] * len(rows), dtype="object"),
        }
    )


@settings(max_examples=10, deadline=None)
@given(rows=ROWS, size=some.integers(1, 4))
@example(rows=[(None, None, None)] * 3, size=2)
@example(rows=[("a", "ham", 1.0), ("a", "ham", 1.0), ("a", "ham", 11.0)], size=1)
def test_blocks_and_the_whole_have_one_verdict(rows: list[tuple[Any, ...]], size: int) -> None:
    """Success, counts and failed rows of every expectation are those of Great Expectations over all rows at once."""
    suite = BlockwiseSuite(SUITE)
    for start in range(0, len(rows), size):
        suite.add(_frame(rows[start : start + size]))
    found, whole = suite.outcomes({"gone"}), run_suite(_frame(rows), SUITE)

    assert suite.rows == len(rows)
    assert report_of(found) == report_of(whole)
    assert [outcome.failed_rows for outcome in found] == [outcome.failed_rows for outcome in whole]


def test_a_column_that_the_file_turns_out_not_to_have_breaks_what_asks_for_it() -> None:
    """That is known at the end: what was found in rows that lack it is no finding."""
    suite = BlockwiseSuite(SUITE[:7])
    suite.add(_frame([("a", "eggs", 1.0), ("b", "eggs", 2.0)]))
    found = {outcome.expectation.reason: outcome for outcome in suite.outcomes({"label"})}

    assert found["label_unknown"].broken
    assert found["label_unknown"].failed_rows == ()
    assert not found["id_repeated"].broken


def test_a_block_ends_with_the_batch_that_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By rows or by bytes; every row is in one block, and a file without rows has an empty one."""
    batches: list[Part] = [pa.record_batch({"n": list(range(start, start + 3))}) for start in range(0, 12, 3)]
    monkeypatch.setattr(blockwise, "BLOCK_ROWS", 6)
    by_rows = list(blocks_of([*batches, ("gone",)]))
    monkeypatch.setattr(blockwise, "BLOCK_BYTES", 3)
    by_bytes = list(blocks_of(batches))

    assert by_rows[-1] == ("gone",)
    assert [table["n"].to_pylist() for table in by_rows[:-1]] == [list(range(6)), list(range(6, 12))]
    assert [table.num_rows for table in by_bytes] == [3, 3, 3, 3]
    assert [table.num_rows for table in blocks_of([()]) if isinstance(table, pa.Table)] == [0]
