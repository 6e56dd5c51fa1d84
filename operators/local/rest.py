"""Airflow by REST: the few calls that the command line needs, tried again while SQLite is busy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from operators.local import airflow
from operators.local.credentials import Credentials
from operators.local.layout import PlatformError
from operators.local.ports import Ports

PATIENCE_SECONDS = 60.0
"""How long a call is repeated: an API server that was killed is back in about 10 s, a busy SQLite sooner."""


class AirflowRest:
    """A logged-in client of one Airflow."""

    def __init__(self, url: str, user: str, password: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._login = {"username": user, "password": password}
        self._patience_seconds = patience_seconds
        # No connection is kept: nobody has to remember to close this, and on loopback a new one costs nothing.
        alone = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=url, timeout=20, trust_env=False, limits=alone)

    @classmethod
    def of(cls, ports: Ports, credentials: Credentials) -> AirflowRest:
        """Return a client of the platform that listens on these ports."""
        return cls(airflow.ui_url(ports), credentials.ui_user, credentials.ui_password)

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Return the answer's document.

        A 5xx answer and a broken connection are repeated: on SQLite a write that meets another answers 500 after 5 s.

        Raises:
            PlatformError: Refused (4xx), or no good answer within the patience.
        """
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                response = self._once(method, path, **arguments)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__} {error}"
            else:
                if response.status_code < 400:
                    return response.json() if response.content else None
                problem = f"{response.status_code}: {_detail(response)}"
                if response.status_code < 500:
                    raise Refused(f"Airflow refused {method} {path}: {problem}", response.status_code)
            if time.monotonic() > deadline:
                raise PlatformError(f"Airflow did not answer {method} {path}: {problem}")
            time.sleep(0.5)

    def token(self) -> str:
        """Return the token of this login, for another program.

        Raises:
            PlatformError: Refused, or no good answer within the patience.
        """
        self.call("GET", "/version")
        return self._http.headers["Authorization"].removeprefix("Bearer ")

    def _once(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        if "Authorization" not in self._http.headers:
            login = self._http.post("/auth/token", json=self._login)
            if login.status_code >= 400:
                return login
            self._http.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        response = self._http.request(method, f"/api/v2{path}", **arguments)
        if response.status_code == 401:
            del self._http.headers["Authorization"]
            response.status_code = 503  # the token has run out: log in and try again
        return response

    def health(self) -> dict[str, Any]:
        """Return `{scheduler: {status}, ...}`; empty while nothing answers."""
        try:
            response = self._http.get("/api/v2/monitor/health", timeout=5)
            return response.json() if response.status_code == 200 else {}
        except (httpx.HTTPError, ValueError):
            return {}

    def ensure_pool(self, name: str, slots: int, description: str) -> None:
        """Make a pool, or leave the one there is as its owner set it."""
        body = {"name": name, "slots": slots, "description": description}
        try:
            self.call("POST", "/pools", json=body)
        except Refused as refused:
            if refused.status != 409:
                raise

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run."""
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def dag_is_ready(self, dag_id: str) -> bool:
        """Say whether Airflow knows this DAG and could read it last time: it takes runs of others, and starts none."""
        try:
            dag = self.call("GET", f"/dags/{dag_id}")
        except Refused as refused:
            if refused.status == 404:
                return False
            raise
        return not (dag["is_stale"] or dag["has_import_errors"])

    def fields(self, dag_id: str) -> list[str]:
        """Return the names of the fields of a DAG's trigger form."""
        return list(self.call("GET", f"/dags/{dag_id}/details")["params"] or {})

    def import_errors(self) -> list[str]:
        """Return what is wrong with DAG files, a text each."""
        errors = self.call("GET", "/importErrors")["import_errors"]
        return [f"{item['filename']}: {item['stack_trace'].strip()}" for item in errors]

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
        """Start a run without a logical date: one of those can be used once only."""
        return dict(self.call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf}))

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return one run."""
        return dict(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}"))

    def active_runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the queued and running runs, oldest first."""
        parameters = {"state": ["queued", "running"], "order_by": "id", "limit": 100}
        return list(self.call("GET", f"/dags/{dag_id}/dagRuns", params=parameters)["dag_runs"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return every task instance of a run, the mapped ones singly."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self.call("GET", path, params={"limit": 100})["task_instances"])

    def task_order(self, dag_id: str) -> list[str]:
        """Return task ids in the order of their dependencies."""
        tasks = self.call("GET", f"/dags/{dag_id}/tasks")["tasks"]
        return topological({task["task_id"]: list(task["downstream_task_ids"]) for task in tasks})

    def log_lines(self, dag_id: str, run_id: str, task: dict[str, Any]) -> list[str]:
        """Return the messages of the newest try of a task instance."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        content = self.call("GET", path, params={"map_index": task["map_index"]})["content"]
        return [_message(item) for item in content]

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """Return what a task returned; None where it returned nothing."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        try:
            return self.call("GET", path, params={"map_index": map_index, "deserialize": False})["value"]
        except Refused as refused:
            if refused.status == 404:
                return None
            raise


class Refused(PlatformError):
    """Airflow answered 4xx; asking again would not help."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])


def _detail(response: httpx.Response) -> str:
    try:
        # What is wrong stands first; the schema that says so follows, after an empty line.
        return str(response.json()["detail"]).split("\n\nFailed validating")[0][:500]
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def _message(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    errors = [f"{detail.get('exc_type')}: {detail.get('exc_value')}" for detail in item.get("error_detail") or []]
    return "\n".join([str(item.get("event", "")), *errors])


def topological(downstream: dict[str, list[str]]) -> list[str]:
    """Return the nodes so that each stands before those it leads to; ties in the order given."""
    waiting = {node: sum(node in after for after in downstream.values()) for node in downstream}
    order: list[str] = []
    while waiting:
        ready = next((node for node, count in waiting.items() if count == 0), None)
        if ready is None:
            raise ValueError(f"a cycle among {sorted(waiting)}")
        order.append(ready)
        del waiting[ready]
        for node in downstream[ready]:
            waiting[node] -= 1
    return order


Poll = Callable[[], bool]


def wait_until(poll: Poll, timeout_seconds: float, problem: Callable[[], str], pause_seconds: float = 0.3) -> None:
    """Return as soon as `poll` says yes.

    Raises:
        PlatformError: It never did; the message is what `problem` says then.
    """
    deadline = time.monotonic() + timeout_seconds
    while not poll():
        if time.monotonic() > deadline:
            raise PlatformError(problem())
        time.sleep(pause_seconds)
