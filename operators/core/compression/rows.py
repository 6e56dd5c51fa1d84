"""Rows of a published data set, as compression needs them: text and label."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pyarrow.parquet as parquet

from operators.core.errors import DataError
from operators.core.manifest import Manifest
from operators.core.storage import Store


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of one split, in the order of its shards."""

    texts: list[str]
    labels: list[str]


def read_rows(store: Store, dataset: Manifest, split: str) -> Rows:
    """Return the rows of a split.

    Raises:
        DataError: The split is empty.
    """
    rows = Rows([], [])
    for entry in sorted(dataset.files, key=lambda entry: entry.name):
        if entry.name.startswith(f"{split}/"):
            table = parquet.read_table(io.BytesIO(store.read(entry)), columns=["text", "label"])
            rows.texts.extend(table["text"].to_pylist())
            rows.labels.extend(table["label"].to_pylist())
    if not rows.texts:
        raise DataError(f"the data set has no row in its split {split!r}: publish a wider window")
    return rows


def spread(texts: list[str], count: int) -> list[str]:
    """Return `count` texts evenly spread over all by length, so that a sample has short and long ones alike."""
    ordered = sorted(texts, key=lambda text: (len(text), text))
    return [ordered[index * len(ordered) // count] for index in range(min(count, len(ordered)))]
