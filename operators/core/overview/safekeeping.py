"""What needs a person for the data to be safe: endpoints, scrubs, backups, drills. Reads nothing."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from operators.core.overview.attention import Need, Severity, Target
from operators.core.overview.dated import Dated
from operators.core.overview.live import Live
from operators.core.overview.safety import Safety

SCRUB_DAYS, DRILL_DAYS = 3, 8
"""Days after which a daily scrub, and a weekly drill, that did not happen are worth a person's look."""

BACKUP_AGE = datetime.timedelta(hours=26)
"""Of the platform's newest backup, at most: there is one a night, and a night may begin late."""

LOG_LAG_SECONDS = 300.0
"""Of PostgreSQL's archived log, at most: a segment comes each minute."""

CLOCKS_DIFFER = datetime.timedelta(hours=1)
"""At most, between the endpoints of a store and of its backup."""


def of_backup(title: str, live: Live, backup: Dated | None) -> Iterator[Need]:
    """Yield what the newest backup of a recipe needs, given what is live of it."""
    about, todo = ("backup", live.recipe), "Clear the task back_up."
    if backup is None:
        words = f"{title}: {live.version} is live and was never backed up."
        yield Need(severity=Severity.LOOK, what=words, todo=todo, about=about)
    elif live.since and backup.at and live.since - backup.at > CLOCKS_DIFFER:
        words = f"{title}: the newest backup is older than what is live."
        target = Target(manifest=backup.digest)
        yield Need(severity=Severity.LOOK, what=words, todo=todo, about=about, target=target)
    elif not backup.facts["verified"]:
        words, target = f"{title}: the newest backup was not read back.", Target(manifest=backup.digest)
        yield Need(severity=Severity.LOOK, what=words, todo=todo, about=about, target=target)


def of_platform_backup(
    backup: Dated | None, live: Sequence[Live], keepers: frozenset[str] | None, now: datetime.datetime
) -> Iterator[Need]:
    """Yield what the backups of the platform need, given what is live and the keys that keepers have."""
    target, about = Target(dag_id="back_up_platform"), ("backup",)
    since = backup.cut_at if backup else _first(live)
    if since and now - since > BACKUP_AGE:
        hours = (now - since).total_seconds() / 3600
        words = "The platform was never backed up" if backup is None else "The newest backup of the platform is old"
        todo = "Is back_up_platform paused, or red?"
        words = f"{words}: {hours:,.0f} hours."
        yield Need(severity=Severity.LOOK, what=words, todo=todo, about=about, target=target)
    if backup and keepers is not None and not keepers.intersection(backup.facts["sealed_for"]):
        words = "Nobody outside this platform can open its newest backup."
        todo = "Lost with the platform, its keys would be lost: nightshift recovery-key FILE makes one, then back up."
        yield Need(severity=Severity.LOOK, what=words, todo=todo, about=about, target=target)
    if backup and backup.facts.get("base"):
        yield from _of_archive(backup.facts["log_lag_seconds"], target)


def _of_archive(lag: float | None, target: Target) -> Iterator[Need]:
    """Yield what PostgreSQL's archived log needs, given how far it was behind the backup; None for without any."""
    if lag is None or lag > LOG_LAG_SECONDS:
        words = "was never archived" if lag is None else f"had stood still for {lag / 60:,.0f} minutes"
        words = f"PostgreSQL's log {words} when the platform was backed up: a loss would cost what came since."
        todo = "The runbook: the archive of PostgreSQL's log stands still."
        yield Need(severity=Severity.ACT, what=words, todo=todo, about=("backup",), target=target)


def of_safety(safety: Safety, live: Sequence[Live], now: datetime.datetime) -> Iterator[Need]:
    """Yield what the store needs, given what is live: before the first release nobody waits for scrubs and drills."""
    for one in safety.away:
        primary = "Nothing can be committed until it is back, or the primary moved. " if one.is_primary else ""
        yield Need(
            severity=Severity.ACT if one.is_primary else Severity.LOOK,
            what=f"Endpoint {one.name} is away or does not count.",
            todo=f"{primary}Start it; if it was wiped or swapped: nightshift resync {one.name}.",
            about=("endpoints",),
        )
    for one in safety.endpoints:
        if one.unfit:
            words = f"Endpoint {one.name} may not be what it is: {'; '.join(one.unfit)}."
            todo = "Look at its server; then probe it again."
            yield Need(severity=Severity.LOOK, what=words, todo=todo, about=("endpoints",))
    yield from _of_scrub(safety, _first(live), now)
    yield from _of_drill(safety, _first(live), now)


def _of_scrub(safety: Safety, first: datetime.datetime | None, now: datetime.datetime) -> Iterator[Need]:
    scrub, about = safety.scrub, ("scrub",)
    if scrub is None:
        if first:
            severity = _once_late(first, SCRUB_DAYS, now)
            words, todo = "The store was never scrubbed.", "scrub_storage does so daily, unless it is paused."
            yield Need(severity=severity, what=words, todo=todo, about=about, target=Target(dag_id="scrub_storage"))
        return
    target = Target(manifest=scrub.digest)
    if scrub.facts["lost"]:
        words = f"{scrub.facts['lost']} pieces have no good copy."
        todo = "Restore them from a backup; the report names them."
        yield Need(severity=Severity.ACT, what=words, todo=todo, about=about, target=target)
    if scrub.facts["left"]:
        words = f"The last scrub could not mend {scrub.facts['left']} copies."
        yield Need(severity=Severity.LOOK, what=words, todo="The report names them.", about=about, target=target)
    if scrub.at and _once_late(scrub.at, SCRUB_DAYS, now) is Severity.LOOK:
        words = f"The store was last scrubbed on {scrub.at:%Y-%m-%d}."
        target = Target(dag_id="scrub_storage")
        yield Need(severity=Severity.LOOK, what=words, todo="Is scrub_storage paused?", about=about, target=target)


def _of_drill(safety: Safety, first: datetime.datetime | None, now: datetime.datetime) -> Iterator[Need]:
    drill, about, target = safety.drill, ("drill",), Target(dag_id="recovery_drill")
    if drill is None:
        if first:
            severity = _once_late(first, DRILL_DAYS, now)
            words, todo = "A recovery was never rehearsed.", "recovery_drill does so weekly; trigger it to know today."
            yield Need(severity=severity, what=words, todo=todo, about=about, target=target)
        return
    if drill.facts.get("missed"):
        words = f"The last drill shows: {'; '.join(drill.facts['missed'])}."
        todo = "You may not get back what you think: see the runbook."
        of_it = Target(manifest=drill.digest)
        yield Need(severity=Severity.ACT, what=words, todo=todo, about=about, target=of_it)
    if drill.at and _once_late(drill.at, DRILL_DAYS, now) is Severity.LOOK:
        words = f"A recovery was last rehearsed on {drill.at:%Y-%m-%d}."
        todo = "Is recovery_drill paused, or red? An old drill is as bad as one that missed a target."
        yield Need(severity=Severity.ACT, what=words, todo=todo, about=about, target=target)


def _once_late(since: datetime.datetime, days: int, now: datetime.datetime) -> Severity:
    """Return LOOK once so many days have gone by, NOTE before."""
    return Severity.LOOK if now - since > datetime.timedelta(days=days) else Severity.NOTE


def _first(live: Sequence[Live]) -> datetime.datetime | None:
    """Return since when anything is live, None where nothing is."""
    return min((one.since for one in live if one.since), default=None)
