"""WNUT-17 (CC BY 4.0), read from where it lies beside the project: posts with tagged entities, split as published."""

from __future__ import annotations

import datetime
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.labels import names_in
from operators.core.manifest import Made, StageCall
from operators.core.sources.reader import read_rows
from operators.core.storage import Store
from tests.dags.published import DATASETS, recipe_named

FOLDER = DATASETS / "wnut17"
NEEDED = "needs shared/datasets/wnut17 beside the project"
FILES = {"train": "wnut17train.conll", "test": "emerging.test.annotated"}
SOURCE = recipe_named("named_entities").source


def publish_wnut(store: Store) -> str:
    """Return the digest of WNUT-17 as a data set: trained on one kind of posts, tested on other, later ones."""
    splits = {split: _rows(split) for split in FILES}
    files = tuple(
        store.put_bytes(f"{split}/00000.parquet", _shard(rows), rows=len(rows)) for split, rows in splits.items()
    )
    every = [row["label"] for rows in splits.values() for row in rows]
    facts = {
        "task": "token_classification",
        "labels": sorted({name for label in every for name in names_in(label, "token_classification")}),
        "splits": {split: len(rows) for split, rows in splits.items()},
    }
    return store.once(
        StageCall(stage="publish_dataset", revision=1, spec={"data": "wnut17"}), lambda: Made(files=files, facts=facts)
    ).digest


def _rows(split: str) -> list[dict[str, Any]]:
    found = read_rows((FOLDER / FILES[split]).read_bytes(), f"entities/dt=2017-09-07/{split}.conll", SOURCE)
    return [
        {
            "id": f"{split}-{number:05d}",
            "day": datetime.date(2017, 9, 7),
            "text": row["text"],
            "label": row["entities"],
        }
        for number, row in enumerate(found.rows)
    ]


def _shard(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()
