"""Airflow's API server with its database and our DAGs, and nothing else of a platform: who asks is all that matters."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from operators.local import airflow, ports, services, stop
from operators.local.credentials import load_credentials
from operators.local.layout import HOME_VARIABLE, Layout
from operators.local.logins import Login, set_login
from operators.local.supervisor import Supervisor
from operators.local.waiting import wait_for_service

NAME = "api-server"


@dataclass(frozen=True)
class ApiServer:
    """A server that is up."""

    layout: Layout
    url: str
    logins: dict[str, Login]
    """By role."""

    def client(self, role: str | None) -> httpx.Client:
        """Return a client that is logged in with a role, or not at all."""
        headers = {}
        if role is not None:
            login = {"username": self.logins[role].name, "password": self.logins[role].password}
            answer = httpx.post(f"{self.url}/auth/token", json=login, trust_env=False, timeout=60)
            headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=60)

    def stop(self) -> None:
        """End it, and its supervisor."""
        stop.stop(self.layout)


def start(home: Path) -> ApiServer:
    """Return a server with one login a role, once it answers."""
    layout = Layout(home=home)
    layout.make()
    credentials, placed = (
        load_credentials(layout),
        ports.wanted_ports({ports.BASE_VARIABLE: str(ports.free_base(os.getpid()))}),
    )
    ports.save(layout, placed)
    logins = {role: set_login(layout, credentials, f"a-{role}", role) for role in ("viewer", "operator", "admin")}
    services.configure(layout, placed, credentials, airflow.REPOSITORY / "dags")
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "NIGHTSHIFT"))},
        **airflow.read_environment(layout.airflow_environment),
        HOME_VARIABLE: str(home),
    }
    for command in (["db", "migrate"], ["dags", "reserialize"]):
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *command], env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    own, supervisor = services.all_services(layout, placed), Supervisor(layout)
    supervisor.boot(own, os.environ)
    server = ApiServer(layout=layout, url=airflow.ui_url(placed), logins=logins)
    try:
        supervisor.start([NAME])
        wait_for_service(supervisor, layout, next(one for one in own if one.name == NAME))
    except BaseException:
        server.stop()
        raise
    return server
