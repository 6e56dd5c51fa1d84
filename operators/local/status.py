"""What is up: `python -m operators.local.status [--json]`."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import httpx

from operators.local import airflow, ports
from operators.local.credentials import load_credentials
from operators.local.disk import disk_use
from operators.local.layout import Layout, PlatformError
from operators.local.services import Service, all_services
from operators.local.supervisor import Supervisor, marked


def state_of(service: Service, process_state: str | None) -> str:
    """Return `up`, `starting` (a process without an answer yet, or being restarted), or `down`."""
    if process_state in (None, "STOPPED", "EXITED", "FATAL", "STOPPING"):
        return "down"
    if process_state != "RUNNING" or not answers(service):
        return "starting"
    return "up"


def answers(service: Service) -> bool:
    """Say whether a service's address answers at all well; a service without one always does."""
    if service.url is None:
        return True
    try:
        verify = service.certificate.pinned() if service.certificate else True
        with httpx.Client(trust_env=False, timeout=3, verify=verify) as client:
            return client.get(f"{service.url}{service.health_path}").status_code < 500
    except (httpx.HTTPError, OSError, ValueError):
        return False


def status(layout: Layout) -> dict[str, Any]:
    """Return `{services: [{name, state, url}], ui: {url, user}, left_over, safety, disk}`.

    `safety` says how old the last backup and drill are, None while the object stores are not all up. `left_over` counts
    processes that outlived a killed supervisor: they may answer, but nothing restarts them. `disk` is in bytes, `free`
    among them.
    """
    placed = ports.load(layout)
    supervisor = Supervisor(layout)
    states = supervisor.states()
    services = [
        {"name": service.name, "state": state_of(service, states.get(service.name)), "url": service.url}
        for service in all_services(layout, placed)
    ]
    user = load_credentials(layout).ui_user if layout.secrets.exists() else "admin"
    left_over = 0 if supervisor.is_up() else len(marked(layout))
    stores = [item["state"] == "up" for item in services if item["name"] in ports.STORES]
    return {
        "services": services,
        "ui": {"url": airflow.ui_url(placed), "user": user},
        "left_over": left_over,
        "safety": _safety(layout, placed) if all(stores) else None,
        "disk": disk_use(layout),
    }


def _safety(layout: Layout, placed: ports.Ports) -> dict[str, Any] | None:
    from operators.core.errors import StorageError
    from operators.core.storage import open_store
    from operators.local import seaweedfs
    from operators.local.safety import safety

    try:
        store = open_store(seaweedfs.store_settings(layout, placed, load_credentials(layout)))
        try:
            return safety(store, layout)
        finally:
            store.close()
    except StorageError:  # a store that was just started may have no members yet
        return None


def notes(document: dict[str, Any]) -> list[str]:
    """Return what a person should know beside the services' states."""
    count, safe = document["left_over"], document["safety"]
    told = ["disk: " + ", ".join(f"{name} {_size(size)}" for name, size in document["disk"].items() if size)]
    if count:
        told.insert(0, f"{count} processes live on without their supervisor, which was killed: `make stop` ends them")
    if safe is None:
        return told
    drilled = f", RPO {safe['rpo_seconds']:,.0f} s, RTO {safe['rto_seconds']:,.0f} s" if safe["rto_seconds"] else ""
    told.append(f"last backup {safe['backup_at'] or 'none'}, last drill {safe['drill_at'] or 'none'}{drilled}")
    return [*told, *safe["problems"]]


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def main() -> int:
    """Print the status; 0 when every service is up, 3 when not."""
    parser = argparse.ArgumentParser(prog="make status", description=__doc__)
    parser.add_argument("--json", action="store_true", help="as a document")
    options = parser.parse_args()
    layout = Layout.from_environment(os.environ)
    try:
        document = status(layout)
    except PlatformError as error:
        print(error)
        return 2
    if options.json:
        print(json.dumps(document, indent=1))
    else:
        for item in document["services"]:
            print(f"{item['name']:<14} {item['state']:<9} {item['url'] or ''}")
        ui = document["ui"]
        print(f"\nUI {ui['url']}  user {ui['user']}  password in {layout.secrets}/credentials.json")
        for note in notes(document):
            print(note)
    return 0 if all(item["state"] == "up" for item in document["services"]) else 3


if __name__ == "__main__":
    raise SystemExit(main())
