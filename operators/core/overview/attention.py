"""What needs a person, from what is known of runs, releases, servers and the store. Reads nothing."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from operators.core.overview.dated import Dated
from operators.core.overview.live import Live, ServerState
from operators.core.overview.night import Night
from operators.core.overview.runs import Pipeline, Run, TaskRun
from operators.core.overview.safety import Safety

SCRUB_DAYS, RUN_DAYS = 3, 2
"""Days after which a nightly thing that did not happen is worth a person's look."""

BACKUP_AGE = datetime.timedelta(hours=26)
"""Of the platform's newest backup, at most: there is one a night, and a night may begin late."""

DRILL_AGE = datetime.timedelta(days=8)
"""Of the last drill, at most: there is one a week, and a week may begin late."""

LOG_LAG_SECONDS = 300.0
"""Of PostgreSQL's archived log, at most: a segment comes each minute."""

CLOCKS_DIFFER = datetime.timedelta(hours=1)
"""At most, between the endpoints of a store and of its backup."""


class Severity(enum.IntEnum):
    """How soon somebody must act."""

    NOTE = 0
    """Worth knowing; nothing waits for it."""
    LOOK = 1
    """Within the day."""
    ACT = 2
    """Now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a need is about, for a link: a task, a run or a manifest."""

    dag_id: str | None = None
    run_id: str | None = None
    task: TaskRun | None = None
    manifest: str | None = None
    view: str = "manifest"
    """Of a manifest: `manifest` or `quarantine`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """One thing that a person should see to."""

    severity: Severity
    what: str
    """A sentence."""
    todo: str
    """What to do about it."""
    target: Target | None = None


def of_pipeline(pipeline: Pipeline, now: datetime.datetime) -> Iterator[Need]:
    """Yield what a DAG's newest run needs."""
    for approval in pipeline.approvals:
        target = Target(
            dag_id=pipeline.dag_id, run_id=approval.run_id, task=TaskRun(task_id=approval.task_id, state="")
        )
        words = f"{pipeline.title}: {approval.subject}"
        yield Need(severity=Severity.LOOK, what=words, todo="It waits for an answer.", target=target)
    run = pipeline.newest
    if run is None:
        return
    if run.state == "failed":
        yield from _failures(pipeline, run)
    began = run.began_at
    if not pipeline.is_paused and pipeline.next_at and began and now - began > datetime.timedelta(days=RUN_DAYS):
        words = f"{pipeline.title}: no run since {began:%Y-%m-%d %H:%M}."
        yield Need(
            severity=Severity.LOOK, what=words, todo="Is the scheduler up?", target=Target(dag_id=pipeline.dag_id)
        )


def of_night(title: str, night: Night) -> Iterator[Need]:
    """Yield what a run found in the data."""
    if night.drift and night.drift.get("level", "none") != "none":
        yield Need(
            severity=Severity.LOOK,
            what=f"{title}: the new data is not quite like before: {night.drift['drifted']}.",
            todo="Ask the source's owner whether that is meant.",
            target=Target(manifest=night.run.digest("check_drift")),
        )
    if night.rows and night.quarantined:
        yield Need(
            severity=Severity.NOTE,
            what=f"{title}: {night.quarantined:,} of {night.rows['in']:,} rows are held back.",
            todo="The list says which, and why.",
            target=Target(manifest=night.run.digest("publish_dataset"), view="quarantine"),
        )


def of_live(title: str, live: Live, servers: Sequence[ServerState]) -> Iterator[Need]:
    """Yield what a live release and its servers need; servers that answer for another recipe are not asked about."""
    proof = live.proof
    if proof and proof.baseline_score is not None and proof.score < proof.baseline_score:
        yield Need(
            severity=Severity.LOOK,
            what=f"{title}: what is live is worse than its baseline, {proof.score:.3f} against "
            f"{proof.baseline_score:.3f}.",
            todo="Look at its evaluation.",
            target=Target(manifest=proof.evaluation),
        )
    silent = [one for one in servers if not one.serves(live.version)]
    if not silent:
        return
    names = ", ".join(one.name for one in silent)
    if len(silent) == len(servers):
        words = f"{title}: no server serves {live.version} ({names})."
        yield Need(severity=Severity.ACT, what=words, todo="Start the servers, then clear the task deploy.")
    else:
        words = f"{title}: {len(servers) - len(silent)} of {len(servers)} servers serve {live.version}; not {names}."
        yield Need(severity=Severity.LOOK, what=words, todo="Start it; the next deployment brings it up to date.")


def of_backup(title: str, live: Live, backup: Dated | None) -> Iterator[Need]:
    """Yield what the newest backup of a recipe needs, given what is live of it."""
    if backup is None:
        words = f"{title}: {live.version} is live and was never backed up."
        yield Need(severity=Severity.LOOK, what=words, todo="Clear the task back_up.")
    elif live.since and backup.at and live.since - backup.at > CLOCKS_DIFFER:
        words = f"{title}: the newest backup is older than what is live."
        yield Need(
            severity=Severity.LOOK, what=words, todo="Clear the task back_up.", target=Target(manifest=backup.digest)
        )


def of_platform_backup(
    backup: Dated | None, live: Sequence[Live], keepers: frozenset[str] | None, now: datetime.datetime
) -> Iterator[Need]:
    """Yield what the backups of the platform need, given what is live and the keys that keepers have."""
    target = Target(dag_id="back_up_platform")
    since = backup.cut_at if backup else min((one.since for one in live if one.since), default=None)
    if since and now - since > BACKUP_AGE:
        hours = (now - since).total_seconds() / 3600
        words = "The platform was never backed up" if backup is None else "The newest backup of the platform is old"
        todo = "Is back_up_platform paused, or red?"
        yield Need(severity=Severity.LOOK, what=f"{words}: {hours:,.0f} hours.", todo=todo, target=target)
    if backup and backup.facts.get("base"):
        lag = backup.facts["log_lag_seconds"]
        if lag is None or lag > LOG_LAG_SECONDS:
            words = "was never archived" if lag is None else f"had stood still for {lag / 60:,.0f} minutes"
            words = f"PostgreSQL's log {words} when the platform was backed up: a loss would cost what came since."
            todo = "The runbook: the archive of PostgreSQL's log stands still."
            yield Need(severity=Severity.ACT, what=words, todo=todo, target=target)
    if backup and keepers is not None and not keepers.intersection(backup.facts["sealed_for"]):
        words = "Nobody outside this platform can open its newest backup."
        todo = "Lost with the platform, its keys would be lost: nightshift recovery-key FILE makes one, then back up."
        yield Need(severity=Severity.LOOK, what=words, todo=todo, target=target)


def of_safety(safety: Safety, now: datetime.datetime) -> Iterator[Need]:
    """Yield what the store needs."""
    for one in safety.away:
        primary = "Nothing can be committed until it is back, or the primary moved. " if one.is_primary else ""
        yield Need(
            severity=Severity.ACT if one.is_primary else Severity.LOOK,
            what=f"Endpoint {one.name} is away or does not count.",
            todo=f"{primary}Start it; if it was wiped or swapped: nightshift resync {one.name}.",
        )
    for one in safety.endpoints:
        if one.unfit:
            words = f"Endpoint {one.name} may not be what it is: {'; '.join(one.unfit)}."
            yield Need(severity=Severity.LOOK, what=words, todo="Look at its server; then probe it again.")
    yield from _of_scrub(safety, now)
    if safety.drill and safety.drill.facts.get("missed"):
        words = f"The last drill shows: {'; '.join(safety.drill.facts['missed'])}."
        todo = "You may not get back what you think: see the runbook."
        yield Need(severity=Severity.ACT, what=words, todo=todo, target=Target(manifest=safety.drill.digest))
    if safety.drill and safety.drill.at and now - safety.drill.at > DRILL_AGE:
        words = f"The last drill is {(now - safety.drill.at).days} days old: nobody knows that a backup comes back."
        todo = "Is recovery_drill paused, or red?"
        yield Need(severity=Severity.ACT, what=words, todo=todo, target=Target(dag_id="recovery_drill"))


def worst(needs: Iterable[Need]) -> Severity:
    """Return the highest severity, NOTE where there is none."""
    return max((need.severity for need in needs), default=Severity.NOTE)


def _failures(pipeline: Pipeline, run: Run) -> Iterator[Need]:
    if not run.failed:
        target = Target(dag_id=pipeline.dag_id, run_id=run.run_id)
        yield Need(severity=Severity.ACT, what=f"{pipeline.title} failed.", todo="Look at the run.", target=target)
    for task in run.failed:
        yield Need(
            severity=Severity.ACT,
            what=f"{pipeline.title}: {task.task_id} failed{_after(task)}.",
            todo="Its notes say what that means; once it is mended, clear the task: it goes on where it stopped.",
            target=Target(dag_id=pipeline.dag_id, run_id=run.run_id, task=task),
        )


def _after(task: TaskRun) -> str:
    return f" after {task.tries} tries" if task.tries > 1 else ""


def _of_scrub(safety: Safety, now: datetime.datetime) -> Iterator[Need]:
    scrub = safety.scrub
    if scrub is None:
        yield Need(severity=Severity.NOTE, what="The store was never scrubbed.", todo="scrub_storage does so daily.")
        return
    target = Target(manifest=scrub.digest)
    if scrub.facts["lost"]:
        words = f"{scrub.facts['lost']} pieces have no good copy."
        todo = "Restore them from a backup; the report names them."
        yield Need(severity=Severity.ACT, what=words, todo=todo, target=target)
    if scrub.facts["left"]:
        words = f"The last scrub could not mend {scrub.facts['left']} copies."
        yield Need(severity=Severity.LOOK, what=words, todo="The report names them.", target=target)
    if scrub.at and now - scrub.at > datetime.timedelta(days=SCRUB_DAYS):
        words = f"The store was last scrubbed on {scrub.at:%Y-%m-%d}."
        yield Need(severity=Severity.LOOK, what=words, todo="Is scrub_storage paused?", target=target)
