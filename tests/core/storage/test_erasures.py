"""The record of erasures: a set that only grows, the same on every store it was copied to."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.errors import DataError
from operators.core.storage import Store
from operators.core.storage.erasures import (
    ErasedRow,
    Erasure,
    copy_rows,
    erased_rows,
    erasures,
    forgotten,
    put_on_record,
)
from tests.core.recovery.conftest import new_store

ROWS = st.builds(
    ErasedRow,
    source=st.sampled_from(["mail", "tickets"]),
    day=st.sampled_from(["2002-09-25", "2002-09-26"]),
    id=st.text(min_size=1, max_size=8),
    key=st.just("0" * 16),
)
DIGESTS = st.sampled_from(["0" * 64, "1" * 64])
RECORDS = st.builds(
    Erasure,
    reason=st.just("request 7"),
    by=st.just("tester"),
    rows=st.lists(ROWS, max_size=3).map(tuple),
    forgotten=st.lists(DIGESTS, max_size=2).map(tuple),
)


@settings(deadline=None)
@given(erasure=RECORDS)
def test_what_was_written_is_read(erasure: Erasure) -> None:
    """Any erasure, any id."""
    assert Erasure.decode(erasure.encode()) == erasure


@settings(max_examples=10, deadline=None)
@given(records=st.lists(RECORDS, max_size=4))
def test_the_record_is_the_union_of_what_was_put_there(records: list[Erasure]) -> None:
    """Each row and manifest stands once, however often it was put; a copy has the rows and forgets nothing."""
    with tempfile.TemporaryDirectory() as folder:
        store, other = new_store(Path(folder) / "a", 1, 1), new_store(Path(folder) / "b", 1, 1)
        for record in records + records:
            put_on_record(store, record)
        copy_rows(store, other)
        copy_rows(store, other)
        entries = list(erasures(store).values())

        assert erased_rows(store) == erased_rows(other) == {row for record in records for row in record.rows}
        assert forgotten(store) == {digest for record in records for digest in record.forgotten}
        assert sum(len(entry.rows) for entry in entries) == len(erased_rows(store))
        assert forgotten(other) == frozenset()


@pytest.mark.parametrize("data", [b"", b"[]", b'{"format": 1}', b'{"format": 1, "rows": [{}], "forgotten": []}'])
def test_what_is_no_erasure_is_refused(data: bytes) -> None:
    """Nobody goes on as if a record that cannot be read were empty."""
    with pytest.raises(DataError, match="not an erasure"):
        Erasure.decode(data)


def test_an_erasure_of_another_format_is_refused() -> None:
    """A later release wrote it."""
    with pytest.raises(DataError, match="another format"):
        Erasure.decode(b'{"format": 2}')


def test_an_erasure_needs_a_reason(store: Store) -> None:
    """Somebody will ask."""
    with pytest.raises(ValueError, match="needs a reason"):
        put_on_record(store, Erasure(reason=" ", by="tester"))
    assert erasures(store) == {}
