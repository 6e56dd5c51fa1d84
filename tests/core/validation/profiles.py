"""Profiles of rows that a test made up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from operators.core.profiling.profile import Profile, Profiler


def profile_of(rows: Iterable[Mapping[str, object]]) -> Profile:
    """Return the profile of rows with a text and a label each."""
    batch = pa.RecordBatch.from_pylist(list(rows), pa.schema({"text": pa.string(), "label": pa.string()}))
    profiler = Profiler(batch.num_rows)
    profiler.add(batch["text"], batch["label"])
    return profiler.profile()
