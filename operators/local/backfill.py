"""`make backfill FROM= TO=`: have Airflow run these days, both inclusive, and wait with progress."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from operators.core.errors import NightshiftError
from operators.local import services
from operators.local.display import Display
from operators.local.job import PARAM_OPTION, Job, parse_day
from operators.local.layout import Layout, PlatformError
from operators.local.rest import AirflowRest, Refused
from operators.local.run import INTERRUPTED, bring_up
from operators.local.watch import RunWatch, failures

ENDED = ("success", "failed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Days:
    """The days that are asked for, both inclusive."""

    first: datetime.date
    last: datetime.date

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"FROM={self.first} lies after TO={self.last}: exchange them")

    @property
    def bounds(self) -> dict[str, str]:
        """Return Airflow's range: its end is an instant, so the last day is named by its end."""
        return {"from_date": f"{self.first}T00:00:00Z", "to_date": f"{self.last}T23:59:59Z"}


def find_or_create(rest: AirflowRest, job: Job, days: Days) -> bool:
    """Have one backfill of these days under way; return whether it is new.

    Raises:
        PlatformError: The days have nothing to run, a parameter is out of range, or another backfill goes on.
    """
    # Days that failed are run again; days that succeeded keep their run, whose results are in the store.
    body = {"dag_id": job.dag_id, **days.bounds, "dag_run_conf": job.conf, "reprocess_behavior": "failed"}
    try:
        # On SQLite this write often meets another: Airflow takes back what it wrote, answers 503, and is asked again.
        rest.call("POST", "/backfills", json={**body, "max_active_runs": 1})
        return True
    except Refused as refused:
        if refused.status != 409:
            raise
    active = _active(rest, job.dag_id)
    if active is None or any(_same(active[key]) != _same(bound) for key, bound in days.bounds.items()):
        known = f", {active['from_date'][:10]} to {active['to_date'][:10]}," if active else ""
        raise PlatformError(
            f"another backfill of {job.dag_id}{known} goes on, and Airflow runs one at a time: wait for it, or end it "
            "in the UI, where the DAG's page shows it as a banner."
        )
    if (active["dag_run_conf"] or {}) != job.conf:
        raise PlatformError(
            f"a backfill of these days goes on with other parameters, {active['dag_run_conf']}: wait for it, or end it "
            "in the UI, where the DAG's page shows it as a banner."
        )
    return False


def _active(rest: AirflowRest, dag_id: str) -> dict[str, Any] | None:
    found = rest.call("GET", "/backfills", params={"dag_id": dag_id, "order_by": "-id", "limit": 10})["backfills"]
    return next((item for item in found if item["completed_at"] is None), None)


def _same(instant: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(instant.replace("Z", "+00:00"))


def runs_by_day(rest: AirflowRest, dag_id: str, days: Days) -> dict[str, dict[str, str]]:
    """Return the runs whose logical date is one of these days: `{day: {state, dag_run_id}}`, oldest first."""
    bounds = {"logical_date_gte": days.bounds["from_date"], "logical_date_lte": days.bounds["to_date"]}
    found: list[dict[str, Any]] = []
    while True:
        page = {**bounds, "order_by": "logical_date", "limit": 100, "offset": len(found)}
        runs = rest.call("GET", f"/dags/{dag_id}/dagRuns", params=page)["dag_runs"]
        found += runs
        if len(runs) < 100:
            break
    return {item["logical_date"][:10]: {"state": item["state"], "dag_run_id": item["dag_run_id"]} for item in found}


def follow(rest: AirflowRest, dag_id: str, days: Days, console: Console) -> dict[str, dict[str, str]]:
    """Show each day's tasks while it runs and its end; return the runs once all have ended."""
    said: set[str] = set()
    while True:
        runs = runs_by_day(rest, dag_id, days)
        for day, run in runs.items():
            if run["state"] in ENDED and day not in said:
                said.add(day)
                console.print(f"{day}  {run['state']}{_note(rest, dag_id, run['dag_run_id'])}", highlight=False)
        running = next(((day, run) for day, run in runs.items() if run["state"] == "running"), None)
        if running:
            watch = RunWatch(rest, dag_id, running[1]["dag_run_id"])
            with Display(console, f"{dag_id}  {running[0]}") as display:
                watch.follow(display.show)
        elif runs and len(said) == len(runs):
            return runs
        else:
            time.sleep(1)


def _note(rest: AirflowRest, dag_id: str, run_id: str) -> str:
    states = {task["task_id"]: task["state"] for task in rest.task_instances(dag_id, run_id)}
    return ", no data arrived on this day" if states.get("discover") == "skipped" else ""


def backfill(layout: Layout, job: Job, days: Days, console: Console) -> int:
    """Have the days run and wait for each; 0 when all succeeded (a day without data skips, and succeeds)."""
    rest = bring_up(layout, job, console).rest
    if not find_or_create(rest, job, days):
        console.print("going on with the backfill of these days that is under way")
    # Only now: a scheduler that takes up runs which Airflow takes back, to write them again, ends and starts anew.
    rest.unpause(job.dag_id)
    runs = follow(rest, job.dag_id, days, console)
    failed = [run["dag_run_id"] for run in runs.values() if run["state"] == "failed"]
    for run_id in failed:
        for text in failures(rest, layout, job.dag_id, run_id):
            console.print(text, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(runs) - len(failed)} of {len(runs)} days succeeded")
    return 1 if failed else 0


def parse(arguments: Sequence[str]) -> tuple[Job, Days]:
    """Read the command line; what is wrong ends the program with a message."""
    parser = argparse.ArgumentParser(prog="make backfill", description=__doc__)
    parser.add_argument("--from", dest="first", type=parse_day, required=True, metavar="DAY", help="first day")
    parser.add_argument("--to", dest="last", type=parse_day, required=True, metavar="DAY", help="last day, included")
    parser.add_argument("--recipe", default=services.DEFAULT_RECIPE)
    parser.add_argument("--param", **PARAM_OPTION)
    options = parser.parse_args(arguments)
    conf = dict(options.param)
    if "day" in conf:
        parser.error(f"day={conf['day']} would make every run one of that day: FROM= and TO= say which days")
    try:
        return Job(recipe=options.recipe, conf=conf), Days(first=options.first, last=options.last)
    except ValueError as error:
        parser.error(str(error))


def main(arguments: Sequence[str]) -> int:
    """Read the command line and run; every expected problem is one message."""
    job, days = parse(arguments)
    console = Console()
    try:
        return backfill(Layout.from_environment(os.environ), job, days, console)
    except KeyboardInterrupt:
        console.print("\nWhat was started goes on: the same `make backfill` comes back to it, `make stop` ends it.")
        return INTERRUPTED
    except (PlatformError, NightshiftError, RuntimeError) as error:
        console.print(f"make backfill: {error}", markup=False, highlight=False, soft_wrap=True)
        return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
