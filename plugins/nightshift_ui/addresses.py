"""Where things have their pages: Airflow's own, and ours."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from airflow.configuration import conf

from operators.core.overview.attention import Target
from operators.core.overview.runs import Run, TaskRun

PREFIX = "/nightshift"


def mounted_at() -> str:
    """Return the path at which our pages are mounted, by the address that Airflow is told to have."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/") + PREFIX


class Addresses:
    """Addresses as the browser must ask for them, below whatever path the API server is reached at."""

    def __init__(self, mounted_at: str) -> None:
        """Take the path at which our pages are mounted."""
        self.home = mounted_at.rstrip("/")
        self.airflow = self.home.removesuffix(PREFIX)

    def dag(self, dag_id: str) -> str:
        """Return a DAG's page."""
        return f"{self.airflow}/dags/{_part(dag_id)}"

    def run(self, run: Run) -> str:
        """Return a run's page."""
        return f"{self.dag(run.dag_id)}/runs/{_part(run.run_id)}"

    def task(self, dag_id: str, run_id: str, task: TaskRun) -> str:
        """Return a task's page in a run; of a mapped task, its first failed instance's."""
        mapped = f"/mapped/{task.failed_index}" if task.failed_index >= 0 else ""
        return f"{self.dag(dag_id)}/runs/{_part(run_id)}/tasks/{_part(task.task_id)}{mapped}"

    def manifest(self, digest: str, view: str = "manifest") -> str:
        """Return a page of ours on a manifest: `manifest`, `lineage`, `quarantine`, `docs`."""
        return f"{self.home}/{view}/{_part(digest)}"

    def file(self, digest: str, name: str) -> str:
        """Return the page of a report that is a manifest's file."""
        return f"{self.home}/report/{_part(digest)}/{_part(name)}"

    def target(self, target: Target | None) -> str | None:
        """Return the page of what a need is about, None where it has none."""
        if target is None:
            return None
        if target.manifest:
            return self.manifest(target.manifest, target.view)
        if target.dag_id and target.run_id and target.task:
            return self.task(target.dag_id, target.run_id, target.task)
        if target.dag_id and target.run_id:
            return f"{self.dag(target.dag_id)}/runs/{_part(target.run_id)}"
        return self.dag(target.dag_id) if target.dag_id else None


def _part(text: str) -> str:
    return quote(text, safe="")
