"""What needs a person, from what is known of runs, releases and servers. Reads nothing."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from operators.core.overview.live import Live, ServerState
from operators.core.overview.night import Night
from operators.core.overview.runs import Pipeline, Run, TaskRun

OVERDUE = datetime.timedelta(hours=2)
"""After a run was due, when it is worth a person's look that it has not begun."""


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
    about: tuple[str, ...] = ()
    """Which figure of the page it judges: `("scrub",)`, `("servers", recipe)`; empty for none."""
    target: Target | None = None


def of_pipeline(pipeline: Pipeline, now: datetime.datetime) -> Iterator[Need]:
    """Yield what a DAG's newest run needs."""
    for approval in pipeline.approvals:
        target = Target(
            dag_id=pipeline.dag_id, run_id=approval.run_id, task=TaskRun(task_id=approval.task_id, state="")
        )
        words = f"{pipeline.title}: {approval.subject}"
        yield Need(severity=Severity.LOOK, what=words, todo="It waits for an answer.", target=target)
    run, due = pipeline.newest, pipeline.next_at
    if run is not None and run.state == "failed":
        yield from _failures(pipeline, run)
    is_at_rest = pipeline.is_paused or pipeline.is_broken or (run is not None and not run.has_ended)
    if due and now - due > OVERDUE and not is_at_rest:
        words = f"{pipeline.title}: the run that was due {due:%Y-%m-%d %H:%M} UTC has not begun."
        yield Need(
            severity=Severity.LOOK, what=words, todo="Is the scheduler up?", target=Target(dag_id=pipeline.dag_id)
        )


def of_broken(pipelines: Iterable[Pipeline]) -> Iterator[Need]:
    """Yield one need for all DAGs whose files cannot be read: often one recipe is the cause of all."""
    titles = ", ".join(one.title for one in pipelines if one.is_broken and not one.is_asleep)
    if titles:
        words = f"A DAG file cannot be read, so these will not run: {titles}."
        yield Need(severity=Severity.ACT, what=words, todo="Airflow's home page has the error, the file and the line.")


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
            about=("score", live.recipe),
            target=Target(manifest=proof.evaluation),
        )
    silent = [one for one in servers if not one.serves(live.version)]
    if not silent:
        return
    names, about = ", ".join(one.name for one in silent), ("servers", live.recipe)
    if len(silent) == len(servers):
        words = f"{title}: no server serves {live.version} ({names})."
        todo = "Start the servers, then clear the task deploy."
        yield Need(severity=Severity.ACT, what=words, todo=todo, about=about)
    else:
        words = f"{title}: {len(servers) - len(silent)} of {len(servers)} servers serve {live.version}; not {names}."
        todo = "Start it; the next deployment brings it up to date."
        yield Need(severity=Severity.LOOK, what=words, todo=todo, about=about)


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
