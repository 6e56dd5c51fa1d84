"""Texts of many rows at once, as `contents` makes one: what is in normal form already, which is nearly all, stays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.core.sources.contents import normalise
from operators.core.sources.spec import SourceSpec


def column_of(rows: pa.RecordBatch, name: str, kind: pa.DataType) -> pa.Array:
    """Return a column, of that type and without a value where the rows have none of that name."""
    return rows.column(name) if name in rows.schema.names else pa.nulls(rows.num_rows, kind)


def joined_texts(rows: pa.RecordBatch, spec: SourceSpec) -> pa.Array:
    """Return the text of each row of plain content, normalised; missing where one of its columns is."""
    columns = [column_of(rows, name, pa.string()) for name in spec.text_columns]
    joined = columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, "\n")
    return normalised(joined)


def normalised(texts: pa.Array) -> pa.Array:
    """Return texts as `normalise` makes each."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    if not len(texts) or offsets[-1] == offsets[0]:
        return texts
    values = np.frombuffer(texts.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    # Whatever is not ASCII, and controls, which come out above it where the blank is taken from them.
    odd = values - np.uint8(ord(" ")) > ord("~") - ord(" ")
    is_space = values == ord(" ")
    if (is_end := values == ord("\n")).any():
        odd &= ~is_end
        is_space |= is_end
    # No two blanks or line ends are neighbours in normal form, and none is at either end.
    odd[1:] |= is_space[1:] & is_space[:-1]
    starts, ends = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
    has_any = ends > starts
    for border in (starts[has_any], ends[has_any] - 1):
        odd[border] |= is_space[border]
    places = np.flatnonzero(odd)
    if not len(places):
        return texts
    rows = np.unique(np.searchsorted(ends, places, "right"))
    return replaced(texts, rows, normalise)


def replaced(texts: pa.Array, rows: npt.NDArray[np.int64], change: Callable[[str], str]) -> pa.Array:
    """Return texts, some of which are changed, given their numbers in order; none of those is missing."""
    if not len(rows):
        return texts
    mask = np.zeros(len(texts), np.bool_)
    mask[rows] = True
    changed = pa.array([change(text) for text in texts.take(pa.array(rows)).to_pylist()], pa.string())
    return pc.replace_with_mask(texts, pa.array(mask), changed)
