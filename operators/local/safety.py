"""How safe the platform is now: how old the last backup and the last drill are, and what is wrong with that."""

from __future__ import annotations

import datetime
from typing import Any

from operators.core.recovery.back_up_platform import RECORD
from operators.core.recovery.drill import STREAM
from operators.core.recovery.spec import DRILL_KEY
from operators.core.storage import Store
from operators.local.layout import Layout

OLDEST_BACKUP = datetime.timedelta(hours=26)
OLDEST_DRILL = datetime.timedelta(days=8)
"""They come once a week, and a week may begin late."""


def safety(store: Store, layout: Layout) -> dict[str, Any]:
    """Return `{backup_at, drill_at, targets_met, rpo_seconds, rto_seconds, problems}`; what is not there is None."""
    now = datetime.datetime.fromtimestamp(store.membership.clock(), datetime.UTC)
    backup, drill = _newest(store, RECORD), _newest(store, STREAM)
    problems = [
        *_age("backup", "trigger `back_up_platform`", backup.get("at"), now, OLDEST_BACKUP),
        *_age("drill", "`nightshift drill` runs one", drill.get("at"), now, OLDEST_DRILL),
        *(f"the last drill: {missed}" for missed in drill.get("missed", ())),
    ]
    if not any(path.stem != DRILL_KEY for path in layout.recovery_keys.glob("*.pub")):
        problems.append("nobody outside this platform has a recovery key: `nightshift recovery-key FILE` makes one")
    figures = {name: drill.get(name) for name in ("targets_met", "rpo_seconds", "rto_seconds")}
    return {"backup_at": backup.get("at"), "drill_at": drill.get("at"), **figures, "problems": problems}


def _newest(store: Store, stream: str) -> dict[str, Any]:
    head = store.stream(stream).head()
    return {} if head is None else dict(store.manifest(head.manifest).facts)


def _age(what: str, remedy: str, at: str | None, now: datetime.datetime, oldest: datetime.timedelta) -> list[str]:
    if at is None:
        return [f"there was no {what} yet: {remedy}"]
    age = now - datetime.datetime.fromisoformat(at)
    if age <= oldest:
        return []
    return [f"the last {what} is {age.total_seconds() / 3600:,.0f} hours old: {remedy}"]
