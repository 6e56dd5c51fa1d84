"""Single things looked at: a manifest with its account, the rows that are held back, a validation, a report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from operators.core.errors import DataError
from operators.core.ingestion.quarantine import QuarantinedRow, quarantined_rows
from operators.core.manifest import Manifest
from operators.core.storage import Store
from operators.core.storage.graph import find_ancestor

MOST_ROWS = 2000
"""Held-back rows that a page lists; `nightshift quarantine` lists all."""
_PER_FILE, _OF_GROUP = "validate_file", "validate"


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A manifest, and what each try of its run key cost."""

    digest: str
    manifest: Manifest
    accounts: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldBack:
    """Rows that a data set does without."""

    dataset: str
    rows_in: int
    counts: Mapping[str, int]
    """By reason, most first."""
    rows: tuple[QuarantinedRow, ...]
    """The first of them, by day, file and number."""

    @property
    def total(self) -> int:
        """Return how many there are."""
        return sum(self.counts.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """What the validation of a file, or of groups of files, came to."""

    files: tuple[tuple[str, Manifest], ...]
    """Of groups: each file's validation, with its digest, by day; empty for a file."""
    report: Mapping[str, Any] | None
    """Of a file: counts by expectation, no values."""


def look(store: Store, digest: str) -> Look:
    """Return a manifest with its accounts.

    Raises:
        StorageError: The store does not tell, or holds no such manifest.
    """
    manifest = store.manifest(digest)
    return Look(digest=digest, manifest=manifest, accounts=tuple(store.accounts(manifest.run_key)))


def held_back(store: Store, digest: str) -> HeldBack:
    """Return the rows that are held back from a data set, or from the one that something was made of.

    Raises:
        DataError: It is no data set, and was made of none.
    """
    dataset = find_ancestor(store, digest, "publish_dataset")
    if dataset is None:
        raise DataError(f"{digest[:12]} is no data set, and none was made into it")
    facts = dataset.facts["rows"]
    return HeldBack(
        dataset=dataset.digest,
        rows_in=facts["in"],
        counts=dict(Counter(facts["quarantined"]).most_common()),
        rows=tuple(islice(quarantined_rows(store, dataset), MOST_ROWS)),
    )


def validation(store: Store, digests: Sequence[str]) -> Validation:
    """Return what the validation of a file, or of the groups of a night, found.

    Raises:
        DataError: One is no validation, or several are not of groups.
    """
    manifests = [store.manifest(digest) for digest in digests]
    if [one.stage for one in manifests] == [_PER_FILE]:
        return Validation(files=(), report=json.loads(store.read(manifests[0].file("report.json"))))
    for one in manifests:
        if one.stage != _OF_GROUP:
            raise DataError(f"{one.digest[:12]} is of stage {one.stage}, no validation of files")
    files = [item.manifest for one in manifests for item in one.inputs_of("file") if item.manifest]
    found = sorted(zip(files, store.membership.round.map(store.manifest, files), strict=True), key=_day_and_path)
    return Validation(files=tuple(found), report=None)


def _day_and_path(found: tuple[str, Manifest]) -> tuple[str, str]:
    return str(found[1].spec["day"]), str(found[1].spec["path"])


def file(store: Store, digest: str, name: str) -> bytes:
    """Return a file of a manifest.

    Raises:
        DataError: The manifest has no such file.
    """
    return store.read(store.manifest(digest).file(name))
