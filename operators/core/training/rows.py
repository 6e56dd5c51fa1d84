"""The labelled rows of a data set, read from its shards in the store."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.errors import DataError
from operators.core.manifest import Manifest
from operators.core.storage import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledRows:
    """Rows in the order of the data set's shards."""

    ids: list[str]
    texts: list[str]
    labels: list[int]
    """Positions in `label_names`."""
    label_names: tuple[str, ...]


def read_rows(store: Store, dataset: Manifest, split: Literal["train", "test"]) -> LabelledRows:
    """Return one split of a data set.

    Raises:
        DataError: The split is empty, or a label is none of the data set's.
    """
    names = tuple(dataset.facts["labels"])
    entries = [entry for entry in dataset.files if entry.name.startswith(f"{split}/")]
    columns = ["id", "text", "label"]
    tables = [pq.read_table(io.BytesIO(store.read(entry)), columns=columns) for entry in entries]
    if not sum(table.num_rows for table in tables):
        raise DataError(f"the data set has no rows in its {split} split: widen the window of days")
    table = pa.concat_tables(tables)
    numbers = {name: number for number, name in enumerate(names)}
    found = table.column("label").to_pylist()
    if unknown := sorted({str(label) for label in found if label not in numbers}):
        raise DataError(f"labels {unknown} of the data set are none of {list(names)}")
    return LabelledRows(
        ids=table.column("id").to_pylist(),
        texts=table.column("text").to_pylist(),
        labels=[numbers[label] for label in found],
        label_names=names,
    )
