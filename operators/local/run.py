"""`make run`: platform up, the main job once with live progress, summary, exit status; leaves the platform up."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from rich.console import Console

from operators.core.errors import NightshiftError
from operators.core.storage import open_store
from operators.local import airflow
from operators.local.display import Display
from operators.local.inputs import prepare_inputs
from operators.local.job import PARAM_OPTION, RECIPES, Job, check_fields, check_recipe, parse_day
from operators.local.layout import Layout, PlatformError, write_private
from operators.local.predict import predict_here
from operators.local.progress import TaskProgress
from operators.local.report import report
from operators.local.rest import AirflowRest, wait_until
from operators.local.services import DEFAULT_RECIPE
from operators.local.summary import RunFacts, compression_page, evaluation_page, summarise
from operators.local.up import Platform, check, up
from operators.local.watch import RunWatch, failures
from operators.recipes import load_recipe

DEFAULT_DAY = "2002-09-26"
"""The corpus's last day with plenty of both kinds of mail."""

DAG_SECONDS = 120.0
INTERRUPTED = 130


def parse(arguments: Sequence[str]) -> Job:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--recipe", default=DEFAULT_RECIPE)
    parser.add_argument("--day", type=parse_day, default=DEFAULT_DAY, metavar="DAY", help="last day of data")
    parser.add_argument("--param", **PARAM_OPTION)
    options = parser.parse_args(arguments)
    return Job(recipe=options.recipe, conf={"day": options.day.isoformat(), **dict(options.param)})


def bring_up(layout: Layout, job: Job, console: Console) -> Platform:
    """Return the platform, up, with the job's DAG known and its input in place."""
    check_recipe(job.recipe)
    check(layout, os.environ, recipe=job.recipe)
    with ThreadPoolExecutor(1) as beside:
        # Fetching and laying out 6,046 mails takes as long as Airflow does to start: both at once.
        inputs: Future[None] = beside.submit(prepare_inputs, layout)
        platform = up(
            layout, os.environ, lambda text: console.print(f"[dim]{text}[/dim]", soft_wrap=True), recipe=job.recipe
        )
        wait_until(
            lambda: platform.rest.dag_is_ready(job.dag_id), DAG_SECONDS, lambda: _no_dag(platform.rest, job.dag_id)
        )
        check_fields(platform.rest, job)
        if not inputs.done():
            console.print("[dim]preparing the input[/dim]")
        inputs.result()
    return platform


def _no_dag(rest: AirflowRest, dag_id: str) -> str:
    errors = rest.import_errors()
    return "\n".join([f"Airflow cannot read the DAG {dag_id}:", *(errors or ["it is in no file"])])


def find_or_trigger(rest: AirflowRest, job: Job) -> tuple[str, bool]:
    """Return the id of an active run of the same day and parameters, or of a new one, and whether it is new."""
    for active in rest.active_runs(job.dag_id):
        if (active.get("conf") or {}) == job.conf:
            return str(active["dag_run_id"]), False
    return str(rest.trigger(job.dag_id, job.conf)["dag_run_id"]), True


def collect(platform: Platform, job: Job, run_id: str, tasks: Sequence[TaskProgress]) -> dict[str, Any]:
    """Return the summary of an ended run, asking the live model for predictions if the run released one."""
    rest = platform.rest
    run = rest.run(job.dag_id, run_id)
    facts = RunFacts(
        dag_id=job.dag_id,
        run_id=run_id,
        day=job.conf.get("day"),
        logical_date=run.get("logical_date"),
        state=run["state"],
        seconds={task.task_id: task.seconds for task in tasks if task.seconds},
        digests={task.task_id: found for task in tasks if (found := _digests(rest, job.dag_id, run_id, task))},
    )
    store = open_store(platform.storage)
    try:
        summary = summarise(store, facts, model_url=f"{platform.serving.balancer_url}/v2/models/{job.recipe}")
        pages = {
            "evaluation": (platform.layout.evaluation, evaluation_page(store, facts)),
            "compression": (platform.layout.compression, compression_page(store, facts)),
        }
    finally:
        store.close()
    for name, (path, page) in pages.items():
        if page is not None:
            write_private(path, page)
            summary[name]["page"] = str(path)
    recipe = load_recipe(RECIPES / f"{job.recipe}.py")
    is_asked = summary["release"] and recipe.examples
    summary["predictions"] = predict_here(platform.layout, recipe) if is_asked else []
    summary["ui"] = {"url": airflow.ui_url(platform.ports), "user": platform.credentials.ui_user}
    return summary


def _digests(rest: AirflowRest, dag_id: str, run_id: str, task: TaskProgress) -> list[str]:
    """Return the digests that a task handed on, whether it was mapped, returned a list, or one."""
    if task.state != "success":
        return []
    indices = range(task.instances) if task.is_mapped else [-1]
    values = [rest.xcom(dag_id, run_id, task.task_id, index) for index in indices]
    flat = [part for value in values for part in (value if isinstance(value, list) else [value])]
    return [part for part in flat if isinstance(part, str)]


def run(layout: Layout, job: Job, console: Console) -> int:
    """Do all of it; return the exit status."""
    platform = bring_up(layout, job, console)
    run_id, is_new = find_or_trigger(platform.rest, job)
    platform.rest.unpause(job.dag_id)
    if not is_new:
        console.print(f"going on with the active run {run_id}")
    watch = RunWatch(platform.rest, job.dag_id, run_id)
    with Display(console, f"{job.dag_id}  {' '.join(f'{k}={v}' for k, v in job.conf.items())}") as display:
        state = watch.follow(display.show)
    tasks = watch.tasks()
    summary = collect(platform, job, run_id, tasks)
    write_private(layout.summary, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    console.print()
    report(console, summary, platform.credentials.ui_password)
    if state != "success":
        console.print(f"\n[bold red]the run failed[/bold red] ({run_id})")
        for text in failures(platform.rest, layout, job.dag_id, run_id):
            console.print(text, highlight=False, markup=False, soft_wrap=True)
        return 1
    if all(task.state == "skipped" for task in tasks if task.task_id == "discover"):
        console.print(f"\nthere is no data for {job.conf['day']}: the run was skipped")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run; every expected problem is one message, not a traceback."""
    console = Console()
    job = parse(arguments)
    try:
        return run(Layout.from_environment(os.environ), job, console)
    except KeyboardInterrupt:
        console.print("\nWhat was started goes on without you: `make run` comes back to it, `make stop` ends it.")
        return INTERRUPTED
    except (PlatformError, NightshiftError, RuntimeError) as error:
        console.print(f"make run: {error}", markup=False, highlight=False, soft_wrap=True)
        return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
