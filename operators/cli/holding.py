"""What holds a subject, as a document and as lines; the subject itself is in neither."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.text import Text

from operators.core.manifest import spec_json

if TYPE_CHECKING:
    from operators.core.erasure.erase import Found
    from operators.core.recovery.holding import HoldingBackup


def document_of(found: Found, holding: list[HoldingBackup]) -> dict[str, Any]:
    """Return what was found as plain JSON."""
    return {
        "rows": [{"source": row.source, "day": row.day, "id": row.id} for row in sorted(found.rows)],
        "unrecorded_rows": len(found.unrecorded),
        "files": spec_json(found.files),
        "landing": spec_json(found.landing),
        "landing_unread": list(found.unread),
        "files_of_other_keys": found.other_keys,
        "holders": spec_json(found.lineage.holders),
        "live": dict(found.lineage.live),
        "backups": [{**dataclasses.asdict(one), "written_at": _iso(one), "forgets_at": None} for one in holding],
    }


def _iso(backup: HoldingBackup) -> str:
    return datetime.datetime.fromtimestamp(backup.written_at, datetime.UTC).isoformat(timespec="seconds")


def lines_of(found: Found, holding: list[HoldingBackup]) -> tuple[Any, ...]:
    """Return what was found for people: what waits for somebody else in red, what to do next last."""
    days = Counter((row.source, row.day) for row in found.rows)
    lines: list[Any] = [f"{len(found.rows)} rows, {len(found.unrecorded)} of them not on record as erased"]
    lines += [f"  {source} {day}: {count} rows" for (source, day), count in sorted(days.items())]
    lines += [f"landing zone, its owner's to mend: {one.path} rows {list(one.rows)}" for one in found.landing]
    lines += [Text(f"landing file not read: {reason}", style="red") for reason in found.unread]
    lines += [f"{one.stage} {one.manifest[:12]} {one.name}: {one.rows} rows" for one in found.files]
    for holder in found.lineage.holders:
        why = f" ({holder.why})" if holder.why else ""
        line = f"{holder.stage} {holder.manifest[:12]} {holder.day or ''}: {holder.state.value}{why}"
        lines.append(Text(line, style="red") if why else line)
    lines += [
        f"backup {one.manifest[:12]} of {one.recipe or 'the platform'}, written {_iso(one)}: {_kept(one)}"
        for one in holding
    ]
    if found.other_keys:
        line = f"{found.other_keys} stored files have pseudonyms of another key: ask again with that one"
        lines.append(Text(line, style="red"))
    return (*lines, *_next(found))


def _kept(backup: HoldingBackup) -> str:
    if backup.recipe is None:
        return "kept until its retention drops it (docs/recovery.md)"
    return "kept without end; it forgets when its store is replaced (docs/erasure.md)"


def _next(found: Found) -> list[str]:
    """Return what to do now, in the order in which it can be done."""
    if found.unrecorded:
        return ["next: the same with --yes --reason, which has these rows left out from now on"]
    if found.lineage.live:
        return [
            f"next: {recipe}'s live release was made of such rows and stays until another is live: trigger "
            f"retrain_{recipe} for {day} (make run RECIPE={recipe} DAY={day}) or wait for the night, then run "
            "`nightshift forget --pending --yes --reason ...`"
            for recipe, day in found.lineage.live.items()
        ]
    if any(holder.state.value == "forgotten" for holder in found.lineage.holders):
        return ["next: `nightshift gc --apply`, and again after the grace; it may need --max-share"]
    if found.is_held_by_nothing:
        return ["no file of the store holds these rows, nor anything that was made of them"]
    return ["next: `nightshift forget --pending --yes --reason ...` forgets what is not live"]
