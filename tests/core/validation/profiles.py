"""Profiles of rows that a test made up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from operators.core.profiling.profile import Profile


def profile_of(rows: Iterable[Mapping[str, object]]) -> Profile:
    """Return the profile of rows with a text and a label each."""
    table = pa.Table.from_pylist(list(rows), pa.schema({"text": pa.string(), "label": pa.string()}))
    return Profile.of(table["text"], table["label"])
