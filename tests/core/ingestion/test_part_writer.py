"""A part's bytes follow from its rows, not from the batches in which they come, nor from what fits into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as some

from operators.core.ingestion import sorting
from operators.core.ingestion.parquet import SCHEMA
from operators.core.ingestion.part_writer import PartWriter
from tests.core.mails import DAY

IDS = some.lists(some.text("abc\u00e9\U0001f600", min_size=1, max_size=3))


@pytest.fixture(scope="module", autouse=True)
def _little_memory() -> Iterator[None]:
    """Have a run of some rows and a look at one or two of them: much is merged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "RUN_BYTES", 200)
        patch.setattr(sorting, "_HEAD_BYTES", 60)
        yield


def _rows(ids: list[str]) -> pa.RecordBatch:
    """Return rows with these ids whose texts say which came first."""
    texts = [f"row {number}" for number in range(len(ids))]
    return pa.RecordBatch.from_arrays(
        [
            pa.array(ids, pa.string()),
            pa.array([DAY] * len(ids)),
            pa.array(texts, pa.string()),
            pa.array(["a"] * len(ids), pa.string()),
        ],
        schema=SCHEMA,
    )


def _written(rows: pa.RecordBatch, size: int) -> tuple[bytes, list[str]]:
    """Return a part of rows that come in batches of that size, and what is left beside it."""
    with tempfile.TemporaryDirectory() as folder:
        writer = PartWriter(Path(folder) / "part", SCHEMA)
        for start in range(0, rows.num_rows, size):
            writer.write(rows.slice(start, size))
        assert writer.close() == rows.num_rows
        left = [path.name for path in Path(folder).rglob("*") if path.is_file() and path.name != "part"]
        return (Path(folder) / "part").read_bytes(), left


@given(ids=IDS, size=some.integers(1, 7))
def test_rows_lie_by_id_and_equal_ids_as_they_came(ids: list[str], size: int) -> None:
    """As a stable sort of all rows in memory would have them, whatever had to go to the disk and back."""
    data, left = _written(_rows(ids), size)
    texts = [f"row {number}" for number in sorted(range(len(ids)), key=ids.__getitem__)]

    assert pq.read_table(pa.BufferReader(data))["text"].to_pylist() == texts
    assert left == []


@given(ids=IDS, is_sorted=some.booleans(), size=some.integers(1, 7))
def test_batches_leave_no_trace(ids: list[str], is_sorted: bool, size: int) -> None:
    """Bytes are equal, of rows in order as of others."""
    rows = _rows(sorted(ids) if is_sorted else ids)

    assert _written(rows, size) == _written(rows, 1000)


def test_rows_in_order_take_no_way_round(tmp_path: Path) -> None:
    """They are encoded as they come; the first that is out of order has the rest sorted."""
    writer = PartWriter(tmp_path / "part", SCHEMA)
    writer.write(_rows(["a", "b"]))
    writer.write(_rows(["b", "c"]))
    before = sorted(path.name for path in tmp_path.iterdir())
    writer.write(_rows(["a", "d"]))

    assert before == ["part"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part", "part.runs"]
    assert writer.close() == 6
    assert pq.read_table(tmp_path / "part")["id"].to_pylist() == ["a", "a", "b", "b", "c", "d"]
