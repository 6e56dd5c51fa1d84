"""Stage `discover`: the source files of a window, with their digests, in a few groups."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

from operators.core.manifest import Input, Made, StageCall, sha256_hex, spec_json
from operators.core.progress import Progress
from operators.core.sources.landing import landing_folder, read_bytes
from operators.core.sources.listing import LISTING_NAME, SourceFile, encode_listing
from operators.core.sources.spec import SourceSpec
from operators.core.storage import Result, Store

REVISION = 1
MAX_GROUPS = 8
"""Digests that one XCom may carry, and so the most tasks that validate and ingest are mapped to."""


def discover(
    store: Store,
    *,
    landing_url: str,
    spec: SourceSpec,
    first_day: datetime.date,
    last_day: datetime.date,
    progress: Progress,
    groups: int | None = None,
) -> list[Result]:
    """List every file of the window by digest, in groups of about equal bytes.

    Args:
        store: Where the listings go.
        landing_url: `file:///folder` of the landing zone.
        spec: What the source looks like.
        first_day: First day of the window.
        last_day: Last day of the window, included.
        progress: Told after each file.
        groups: How many listings to make; None for one a core, at most 8.

    Returns:
        One result a group, or none at all when `last_day` has no file: there is nothing new to train on.

    Raises:
        ValueError: The window ends before it starts.
        DataError: A file cannot be listed.
    """
    if last_day < first_day:
        raise ValueError(f"window {first_day} to {last_day}: it ends before it starts")
    files = list_files(landing_folder(landing_url), spec, first_day, last_day, progress)
    if not any(file.day == last_day for file in files):
        return []
    wanted = groups if groups is not None else len(os.sched_getaffinity(0))
    number = max(1, min(wanted, MAX_GROUPS, len(files)))
    return [_listed(store, spec, group) for group in split_evenly(files, number)]


def list_files(
    landing: Path, spec: SourceSpec, first_day: datetime.date, last_day: datetime.date, progress: Progress
) -> list[SourceFile]:
    """Return the landing files of a window, by day and name."""
    days = [first_day + datetime.timedelta(days=n) for n in range((last_day - first_day).days + 1)]
    found: list[SourceFile] = []
    for number, day in enumerate(days, start=1):
        folder = f"{spec.folder}/{spec.partition_key}={day.isoformat()}"
        for path in sorted((landing / folder).glob("*.jsonl.zst")):
            name = f"{folder}/{path.name}"
            data = read_bytes(path, name, spec.limits)
            found.append(SourceFile(day=day, path=name, sha256=sha256_hex(data), bytes=len(data)))
        progress(number, len(days), "days")
    return found


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
        spec={"source": spec_json(spec), "listing": sha256_hex(listing)},
    )
    return store.once(call, lambda: Made(files=(store.put_bytes(LISTING_NAME, listing),), facts=facts))
