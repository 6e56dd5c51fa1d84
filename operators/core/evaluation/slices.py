"""How parts of the rows fare: by label, by length, and by columns that the recipe names."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.evaluation.outcomes import Outcomes
from operators.core.labels import names_in
from operators.core.manifest import Manifest
from operators.core.storage import Store
from operators.core.training.rows import LabelledRows, shards_of

FEW_ROWS = 30
"""A slice of fewer rows is called small: one row is more than three points of its score."""
MOST_VALUES = 12
"""Values of a column that get a slice each, the most frequent; the rest share one."""
NO_VALUE, OTHERS = "(none)", "(others)"


@dataclass(frozen=True, slots=True)
class Slice:
    """The score on one part of the rows. Rows may lie in several."""

    by: str
    """What the rows were parted by."""
    name: str
    rows: int
    is_small: bool
    score: float
    low: float
    high: float


def slice_rows(outcomes: Outcomes, rows: LabelledRows, columns: Mapping[str, Sequence[str]]) -> list[Slice]:
    """Return the score on each part of the rows; parts in which nothing could be right are left out.

    Args:
        outcomes: How the rows fared.
        rows: The rows.
        columns: Values of further columns, by name, in the order of the rows.
    """
    parts: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = [
        ("label", rows.label_names, [names_in(label, rows.task) for label in rows.labels]),
        ("length", *_by_length(rows.texts)),
        *((name, *_by_value(values)) for name, values in columns.items()),
    ]
    return [one for by, names, members in parts for one in _slices(outcomes, by, names, members)]


def read_columns(store: Store, dataset: Manifest, names: Sequence[str]) -> dict[str, list[str]]:
    """Return columns of a data set's test split as text, in the order of its rows."""
    if not names:
        return {}
    entries = shards_of(dataset, "test")
    table = pa.concat_tables([pq.read_table(io.BytesIO(store.read(entry)), columns=list(names)) for entry in entries])
    return {
        name: [NO_VALUE if value is None else str(value) for value in table.column(name).to_pylist()] for name in names
    }


def _slices(outcomes: Outcomes, by: str, names: Iterable[str], members: Sequence[Sequence[str]]) -> Iterator[Slice]:
    for name in names:
        chosen = np.array([name in member for member in members], dtype=np.bool_)
        found, count = outcomes.estimate(chosen), int(chosen.sum())
        if found is not None:
            yield Slice(by, name, count, count < FEW_ROWS, found.score, found.low, found.high)


def _by_length(texts: Sequence[str]) -> tuple[list[str], list[tuple[str]]]:
    """Return names of the quarters of the rows by length, and each row's."""
    lengths = np.array([len(text) for text in texts])
    edges = np.unique(np.quantile(lengths, (0.25, 0.5, 0.75), method="lower"))
    names = [f"up to {edges[0]} characters"]
    names += [f"{low + 1} to {high}" for low, high in itertools.pairwise(edges)]
    names.append(f"from {edges[-1] + 1}")
    return names, [(names[place],) for place in np.searchsorted(edges, lengths).tolist()]


def _by_value(values: Sequence[str]) -> tuple[list[str], list[tuple[str]]]:
    """Return the most frequent values, and each row's."""
    counted = Counter(values)
    names = sorted(counted, key=lambda value: (-counted[value], value))[:MOST_VALUES]
    known = set(names)
    return [*names, OTHERS], [(value if value in known else OTHERS,) for value in values]
