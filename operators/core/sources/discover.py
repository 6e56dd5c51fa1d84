"""Stage `discover`: the source files of a window, with their digests, in a few groups."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from typing import Any

from operators.core.errors import DataError, all_of
from operators.core.manifest import Input, Made, StageCall, sha256_hex
from operators.core.progress import Progress
from operators.core.settings import LandingSettings
from operators.core.sources.landing import LandingZone
from operators.core.sources.listing import LISTING_NAME, SourceFile, encode_listing, source_key
from operators.core.sources.spec import SourceSpec
from operators.core.storage import Result, Store

REVISION = 6
MAX_GROUPS = 8
"""Digests that one XCom may carry, and so the most tasks that validate and ingest are mapped to."""


def discover(
    store: Store,
    *,
    landing: LandingSettings,
    spec: SourceSpec,
    first_day: datetime.date,
    last_day: datetime.date,
    progress: Progress,
    groups: int | None = None,
) -> list[Result]:
    """List every file of the window by digest, in groups of about equal bytes.

    Args:
        store: Where the listings go.
        landing: Where the landing zone is.
        spec: What the source looks like.
        first_day: First day of the window.
        last_day: Last day of the window, included.
        progress: Told after each file.
        groups: How many listings to make; None for one a core, at most 8.

    Returns:
        One result a group, or none at all when `last_day` has no file: there is nothing new to train on.

    Raises:
        ValueError: The window ends before it starts.
        DataError: Files cannot be listed; the message names every one.
        SourceUnavailable: The landing zone does not answer.
    """
    if last_day < first_day:
        raise ValueError(f"window {first_day} to {last_day}: it ends before it starts")
    files = list_files(LandingZone(landing), spec, first_day, last_day, progress)
    if not any(file.day == last_day for file in files):
        return []
    wanted = groups if groups is not None else len(os.sched_getaffinity(0))
    number = max(1, min(wanted, MAX_GROUPS, len(files)))
    return [_listed(store, spec, group) for group in split_evenly(files, number)]


def list_files(
    zone: LandingZone, spec: SourceSpec, first_day: datetime.date, last_day: datetime.date, progress: Progress
) -> list[SourceFile]:
    """Return the landing files of a window, by day and path; files that are none of the source's are left out.

    Raises:
        DataError: Files cannot be listed, the message names every one; or there is nothing of this source at all.
        SourceUnavailable: The landing zone does not answer.
    """
    days = [first_day + datetime.timedelta(days=n) for n in range((last_day - first_day).days + 1)]
    found: list[SourceFile] = []
    refused: list[DataError] = []
    for number, day in enumerate(days, start=1):
        for path in paths_of(zone, spec, day):
            try:
                sha256, size = zone.digest(path, spec.limits.max_file_bytes)
                found.append(SourceFile(day=day, path=path, sha256=sha256, bytes=size))
            except DataError as error:
                refused.append(error)
        progress(number, len(days), "days")
    if refused:
        raise all_of(refused)
    if not found and not zone.list(spec.folder):
        raise DataError(
            f"the landing zone has no folder {spec.folder!r}, or nothing in it; look at the connection and the recipe"
        )
    return found


def paths_of(zone: LandingZone, spec: SourceSpec, day: datetime.date) -> Iterator[str]:
    """Yield the paths of a day's files, in order."""
    folders = [f"{spec.folder}/{spec.partition_key}={day.isoformat()}"]
    for column in spec.partition_columns:
        folders = [
            f"{folder}/{entry.name}"
            for folder in folders
            for entry in zone.list(folder)
            if entry.is_folder and entry.name.startswith(f"{column}=")
        ]
    for folder in folders:
        for entry in zone.list(folder):
            if not entry.is_folder and spec.compression_of(entry.name) is not None:
                yield f"{folder}/{entry.name}"


def split_evenly(files: list[SourceFile], number: int) -> list[tuple[SourceFile, ...]]:
    """Deal files into groups, largest first to the emptiest group; each group by day and path, none empty."""
    groups: list[list[SourceFile]] = [[] for _ in range(number)]
    for file in sorted(files, key=lambda f: (-f.bytes, f.path)):
        min(groups, key=lambda group: sum(f.bytes for f in group)).append(file)
    return [tuple(sorted(group, key=lambda f: (f.day, f.path))) for group in groups if group]


def _listed(store: Store, spec: SourceSpec, files: tuple[SourceFile, ...]) -> Result:
    listing = encode_listing(files)
    facts: dict[str, Any] = {"files": len(files), "bytes": sum(file.bytes for file in files)}
    call = StageCall(
        stage="discover",
        revision=REVISION,
        inputs=tuple(Input(role="source", identity=file.sha256) for file in files),
        # Two days may hold the same bytes: paths tell them apart, so they belong to the key.
        spec={"source": source_key(spec), "listing": sha256_hex(listing)},
    )
    return store.once(call, lambda: Made(files=(store.put_bytes(LISTING_NAME, listing),), facts=facts))
