"""Banking77 (CC BY 4.0), read from where it lies beside the project: 77 intents of customers, 10,003 + 3,080 texts."""

from __future__ import annotations

import csv
import datetime
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.manifest import Made, StageCall
from operators.core.storage import Store

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "datasets" / "banking77"
NEEDED = "needs shared/datasets/banking77 beside the project"


def publish_banking(store: Store, train_rows: int | None = None) -> str:
    """Return the digest of Banking77 as a data set, split as it was published.

    Args:
        store: Takes it.
        train_rows: Rows to train on, spread evenly over the file, which is sorted by label; all if None.
    """
    splits = {split: _rows(split) for split in ("train", "test")}
    every = len(splits["train"]) / (train_rows or len(splits["train"]))
    splits["train"] = [splits["train"][int(number * every)] for number in range(int(len(splits["train"]) / every))]
    files = tuple(
        store.put_bytes(f"{split}/00000.parquet", _shard(rows), rows=len(rows)) for split, rows in splits.items()
    )
    labels = sorted({row["label"] for rows in splits.values() for row in rows})
    facts = {"labels": labels, "splits": {split: len(rows) for split, rows in splits.items()}}
    return store.once(
        StageCall(stage="publish_dataset", revision=1, spec={}), lambda: Made(files=files, facts=facts)
    ).digest


def _rows(split: str) -> list[dict[str, Any]]:
    with (FOLDER / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        return [
            {
                "id": f"{split}-{number:05d}",
                "day": datetime.date(2020, 3, 10),
                "text": row["text"],
                "label": row["category"],
            }
            for number, row in enumerate(csv.DictReader(file))
        ]


def _shard(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()
