"""Which rows of a window are held back, and why: their numbers and reasons, never a value of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from operators.core.errors import DataError
from operators.core.manifest import Manifest
from operators.core.sources.listing import SELECTION_NAME, Selection
from operators.core.storage import Store


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class QuarantinedRow:
    """A row that a data set does without."""

    day: str
    path: str
    """Of its file, below the landing zone."""
    row: int
    """Its number in the file, from 1."""
    reason: str


def quarantined_rows(store: Store, dataset: Manifest) -> Iterator[QuarantinedRow]:
    """Yield the rows that are held back from a data set, by day, file and number.

    Raises:
        DataError: It was made by a release that kept no such list.
    """
    parts = [store.manifest(item.manifest) for item in dataset.inputs_of("part") if item.manifest is not None]
    for part in sorted(parts, key=lambda one: (one.spec["day"], _path(store, one))):
        selection = Selection.decode(store.read(part.file(SELECTION_NAME)))
        for number, reason in sorted(selection.quarantined.items()):
            yield QuarantinedRow(day=part.spec["day"], path=_path(store, part), row=number + 1, reason=reason)


def _path(store: Store, part: Manifest) -> str:
    validated = part.input("validation").manifest
    if validated is None:
        raise DataError("a part names no validation: the store holds a manifest that no release writes")
    return str(store.manifest(validated).spec["path"])
