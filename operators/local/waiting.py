"""Wait for what was started: as long as it may take, and no longer once waiting cannot help."""

from __future__ import annotations

from operators.local import status
from operators.local.layout import Layout, PlatformError
from operators.local.rest import AirflowRest, wait_until
from operators.local.services import Service
from operators.local.supervisor import Supervisor

START_SECONDS = 180.0
"""An idle machine with two cores needs about 20; a busy one may need several times that."""
MAX_BACKOFFS = 30
"""Looks, three a second, at which a starting service was found to have ended, before it is given up."""


def wait_for_service(supervisor: Supervisor, layout: Layout, service: Service) -> None:
    """Return once a service that was started answers.

    Raises:
        PlatformError: It does not, or ends again and again, with the end of its log; or the platform was stopped.
    """
    ends = 0

    def is_up() -> bool:
        nonlocal ends
        _check_supervised(supervisor)
        state = supervisor.states().get(service.name)
        ends += state == "BACKOFF"
        if ends > MAX_BACKOFFS:  # it ends again and again: waiting longer will not help
            raise PlatformError(_stuck(layout, service.name))
        return status.state_of(service, state) == "up"

    wait_until(is_up, START_SECONDS, lambda: _stuck(layout, service.name))


def _check_supervised(supervisor: Supervisor) -> None:
    """Return where there is something to wait for."""
    if not supervisor.is_up():
        raise PlatformError("the platform was stopped while it started: run it again")


def _stuck(layout: Layout, name: str) -> str:
    log = layout.log / f"{name}.log"
    lines = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
    return "\n".join([f"{name} did not come up; the end of {log}:", *lines])


def wait_for_airflow(supervisor: Supervisor, layout: Layout, rest: AirflowRest) -> None:
    """Return once every part of Airflow says that it is well.

    Raises:
        PlatformError: One does not, with the end of its log; or the platform was stopped.
    """
    parts = {
        "metadatabase": "api-server",
        "scheduler": "scheduler",
        "dag_processor": "dag-processor",
        "triggerer": "triggerer",
    }

    def missing() -> list[str]:
        _check_supervised(supervisor)
        health = rest.health()
        return [service for part, service in parts.items() if (health.get(part) or {}).get("status") != "healthy"]

    wait_until(
        lambda: not missing(),
        START_SECONDS,
        lambda: _stuck(layout, missing()[0] if missing() else "api-server"),
    )
