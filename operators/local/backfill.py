"""`make backfill FROM= TO=`: have Airflow run these days, both inclusive, and wait with progress."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from operators.core.errors import NightshiftError
from operators.local import airflow, services
from operators.local.layout import Layout, PlatformError
from operators.local.rest import AirflowRest
from operators.local.run import INTERRUPTED, PARAM_OPTION, Job, bring_up
from operators.local.watch import failures

ENDED = ("success", "failed")


def create_command(dag_id: str, first: datetime.date, last: datetime.date, conf: Mapping[str, Any]) -> list[str]:
    """Return the plain command: `--to-date` is an instant, so the last day is named by its end."""
    return [
        str(services.BIN / "airflow"), "backfill", "create", "--dag-id", dag_id,
        "--from-date", f"{first.isoformat()}T00:00:00+00:00", "--to-date", f"{last.isoformat()}T23:59:59+00:00",
        # Days that failed are run again; days that succeeded keep their run, whose results are in the store.
        "--reprocess-behavior", "failed", "--max-active-runs", "1", "--dag-run-conf", json.dumps(conf),
    ]  # fmt: skip


def runs_by_day(rest: AirflowRest, dag_id: str, first: datetime.date, last: datetime.date) -> dict[str, dict[str, str]]:
    """Return the runs whose logical date is one of these days: `{day: {state, dag_run_id}}`."""
    parameters = {
        "logical_date_gte": f"{first.isoformat()}T00:00:00Z",
        "logical_date_lte": f"{last.isoformat()}T23:59:59Z",
        "limit": 100,
        "order_by": "logical_date",
    }
    found = rest.call("GET", f"/dags/{dag_id}/dagRuns", params=parameters)["dag_runs"]
    return {item["logical_date"][:10]: {"state": item["state"], "dag_run_id": item["dag_run_id"]} for item in found}


def backfill(layout: Layout, job: Job, first: datetime.date, last: datetime.date, console: Console) -> int:
    """Create the backfill and wait for every day; 0 when all succeeded (a day without data skips, and succeeds)."""
    rest = bring_up(layout, job, console).rest
    variables = {**os.environ, **airflow.read_environment(layout.airflow_environment)}
    done = subprocess.run(
        create_command(job.dag_id, first, last, job.conf), env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PlatformError(f"airflow backfill create failed:\n{(done.stdout + done.stderr).strip()[-2000:]}")
    said: dict[str, str] = {}
    while True:
        days = runs_by_day(rest, job.dag_id, first, last)
        for day, item in days.items():
            if said.get(day) != item["state"]:
                said[day] = item["state"]
                console.print(f"{day}  {item['state']}", highlight=False)
        if days and all(item["state"] in ENDED for item in days.values()):
            break
        time.sleep(1)
    failed = [item["dag_run_id"] for item in days.values() if item["state"] == "failed"]
    for run_id in failed:
        for text in failures(rest, layout, job.dag_id, run_id):
            console.print(text, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(days) - len(failed)} of {len(days)} days succeeded")
    return 1 if failed else 0


def main(arguments: Sequence[str]) -> int:
    """Read the command line and run; every expected problem is one message."""
    parser = argparse.ArgumentParser(prog="make backfill", description=__doc__)
    parser.add_argument("--from", dest="first", required=True, help="first day, e.g. 2002-09-20")
    parser.add_argument("--to", dest="last", required=True, help="last day, included")
    parser.add_argument("--recipe", default=services.DEFAULT_RECIPE)
    parser.add_argument("--param", **PARAM_OPTION)
    options = parser.parse_args(arguments)
    console = Console()
    try:
        first, last = datetime.date.fromisoformat(options.first), datetime.date.fromisoformat(options.last)
    except ValueError as error:
        parser.error(f"{error}: make backfill FROM=2002-09-20 TO=2002-09-22")
    if first > last:
        parser.error(f"FROM={first} lies after TO={last}")
    try:
        layout = Layout.from_environment(os.environ)
        return backfill(layout, Job(recipe=options.recipe, conf=dict(options.param)), first, last, console)
    except KeyboardInterrupt:
        console.print("\nThe backfill goes on without you: see the UI.")
        return INTERRUPTED
    except (PlatformError, NightshiftError, RuntimeError) as error:
        console.print(f"make backfill: {error}", markup=False, highlight=False, soft_wrap=True)
        return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
