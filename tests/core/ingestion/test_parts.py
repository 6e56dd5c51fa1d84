"""A part is read in pieces of bounded size."""

from __future__ import annotations

import datetime
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.ingestion.parts import Part

GROUPS, ROWS = 16, 2000


def test_reading_a_part_holds_a_few_row_groups_and_not_the_file(tmp_path: Path) -> None:
    """However many there are: of text that does not compress, Arrow never holds half of what the file has."""
    draw = random.Random(0)
    path = tmp_path / "part.parquet"
    for_one = [draw.randbytes(1000).hex() for _ in range(ROWS)]
    with pq.ParquetWriter(path, pa.schema({"id": pa.string(), "text": pa.string()}), compression="none") as writer:
        for number in range(GROUPS):
            ids = [f"{number}-{row}" for row in range(ROWS)]
            texts = [f"{number}{text}" for text in for_one]
            writer.write_table(pa.table({"id": ids, "text": texts}))
    part = Part(day=datetime.date(2026, 11, 23), identity="a", path=path)
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for batch in part.batches(["text"]):
        rows += batch.num_rows
        most = max(most, pa.total_allocated_bytes() - before)

    assert rows == GROUPS * ROWS
    assert most < path.stat().st_size / 2
