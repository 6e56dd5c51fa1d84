"""The labelled rows of a data set, read from its shards in the store."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operators.core.errors import DataError
from operators.core.labels import Task
from operators.core.manifest import FileEntry, Manifest
from operators.core.storage import Store
from operators.core.training.permutation import Ints

Split = Literal["train", "test"]
BATCH_ROWS = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledRows:
    """Rows in the order of the data set's shards."""

    ids: list[str]
    texts: list[str]
    labels: list[str]
    """As `core.labels` has them."""
    label_names: tuple[str, ...]
    """The names in labels, sorted; models number them in this order."""
    task: Task


def task_of(dataset: Manifest) -> Task:
    """Return what the labels of a data set are for; before there were others they were for texts."""
    task: Task = dataset.facts.get("task", "text_classification")
    return task


def shards_of(dataset: Manifest, split: Split) -> tuple[FileEntry, ...]:
    """Return the shards of one split, in their order.

    Raises:
        DataError: The split is empty.
    """
    entries = tuple(entry for entry in dataset.files if entry.name.startswith(f"{split}/"))
    if not sum(entry.rows or 0 for entry in entries):
        raise DataError(f"the data set has no rows in its {split} split: widen the window of days")
    return entries


def read_shard(store: Store, entry: FileEntry, column: str = "text") -> Iterator[tuple[pa.Array, pa.StringArray]]:
    """Yield a column and the labels of a shard, some thousand rows at once."""
    with pq.ParquetFile(io.BytesIO(store.read(entry))) as shard:
        for batch in shard.iter_batches(BATCH_ROWS, columns=[column, "label"]):
            yield batch.column(column), batch.column("label")


def number_labels(labels: pa.StringArray, label_names: tuple[str, ...]) -> Ints:
    """Return the position of each label among the names.

    Raises:
        DataError: A label is none of them.
    """
    numbers = pc.index_in(labels.cast(pa.string()), pa.array(label_names, pa.string()))
    if numbers.null_count:
        unknown = sorted(map(str, pc.unique(labels.filter(pc.is_null(numbers))).to_pylist()))
        raise DataError(f"labels {unknown} of the data set are none of {list(label_names)}")
    found: Ints = numbers.to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def read_rows(store: Store, dataset: Manifest, split: Split) -> LabelledRows:
    """Return one split of a data set.

    Raises:
        DataError: The split is empty.
    """
    columns = ["id", "text", "label"]
    entries = shards_of(dataset, split)
    table = pa.concat_tables([pq.read_table(io.BytesIO(store.read(entry)), columns=columns) for entry in entries])
    return LabelledRows(
        ids=table.column("id").to_pylist(),
        texts=table.column("text").to_pylist(),
        labels=table.column("label").to_pylist(),
        label_names=tuple(dataset.facts["labels"]),
        task=task_of(dataset),
    )
