"""The services of the one-machine platform: what each runs, and the address that says it is well."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from operators.core.deployment.server.settings import SERVER_VARIABLE
from operators.core.settings import STORAGE_VARIABLE, StorageSettings
from operators.local import airflow, caddy, recovery, seaweedfs, serving
from operators.local.credentials import Credentials, add_master_key, load_credentials
from operators.local.layout import Layout, write_private
from operators.local.ports import SERVERS, STORES, Ports
from operators.local.ports import load as load_ports
from operators.local.tls import Certificate, Tls

BIN = Path(sys.executable).parent
AIRFLOW_SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")
TOKEN_VARIABLE = "NIGHTSHIFT_SERVING_TOKEN"  # noqa: S105 - its name only
DEFAULT_RECIPE = "mail_triage"


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """One supervised process."""

    name: str
    command: tuple[str, ...]
    url: str | None = None
    """Base address, for people and for probes; None where nothing listens."""
    health_path: str = "/"
    """Answers below 500 when the process is up."""
    environment_file: Path | None = None
    ends_by: str = "TERM"
    """Signal that stops it."""
    certificate: Certificate | None = None
    """What it shows; None: it speaks plain HTTP."""


def all_services(layout: Layout, ports: Ports, recipe: str = DEFAULT_RECIPE) -> tuple[Service, ...]:
    """Return the services, those that others need first; the model servers answer for one recipe."""
    tls = serving.tls_settings(layout)
    balancer = Service(
        name="balancer",
        command=(str(BIN / "caddy"), "run", "--config", str(layout.run / "caddy.json")),
        url=tls.balancer_url(ports["balancer"]),
        certificate=tls.balancer,
    )
    watcher = Service(name="watcher", command=_watch(layout, ports, recipe, tls))
    return (*stores(layout, ports), balancer, *_servers(layout, ports, recipe, tls), watcher, *_airflow(layout, ports))


def stores(layout: Layout, ports: Ports) -> tuple[Service, ...]:
    """Return the object stores, which need nothing else to run."""
    return tuple(
        Service(
            name=name,
            command=tuple(seaweedfs.command(name, layout, ports, BIN / "weed")),
            url=f"http://127.0.0.1:{ports[f'{name}-s3']}",
            health_path="/healthz",
            ends_by="KILL",
        )
        for name in STORES
    )


def _watch(layout: Layout, ports: Ports, recipe: str, tls: Tls) -> tuple[str, ...]:
    address = urlsplit(tls.balancer_url(ports["balancer"])).netloc
    program = (sys.executable, "-m", "operators.core.overview.watcher")
    shown = ("--certificate", tls.balancer.chain) if tls.balancer else ()
    return (*program, "--balancer", address, *shown, "--model", recipe, "--file", str(layout.availability))


def _servers(layout: Layout, ports: Ports, recipe: str, tls: Tls) -> tuple[Service, ...]:
    return tuple(
        Service(
            name=name,
            command=(
                sys.executable, "-m", "operators.core.deployment.server", "--host", "127.0.0.1",
                "--port", str(ports[name]), "--grpc-port", str(ports[f"{name}-grpc"]),
                "--name", name, "--folder", str(layout.servers / name), "--model", recipe,
            ),
            url=tls.server_url(ports[name]),
            health_path="/v2/health/live",
            certificate=tls.servers,
            environment_file=layout.secrets / "serving.env",
        )
        for name in SERVERS
    )  # fmt: skip


def _airflow(layout: Layout, ports: Ports) -> tuple[Service, ...]:
    program = str(BIN / "airflow")
    # Logs are read from the one disk there is: nobody needs to serve them.
    commands = {
        "scheduler": (sys.executable, "-m", "operators.local.scheduler", "--skip-serve-logs"),
        "triggerer": (program, "triggerer", "--skip-serve-logs"),
    }
    return tuple(
        Service(
            name=name,
            command=commands.get(name, (program, name)),
            url=airflow.ui_url(ports) if name == "api-server" else None,
            health_path="/api/v2/version",
            environment_file=layout.airflow_environment,
        )
        for name in AIRFLOW_SERVICES
    )


def configure(layout: Layout, ports: Ports, credentials: Credentials, dags: Path) -> None:
    """Write every configuration file that the services read."""
    layout.make()
    seaweedfs.configure(layout, credentials)
    airflow.configure(layout, ports, credentials, dags)
    recovery.configure(layout, seaweedfs.backup_settings(ports, credentials), credentials)
    settings = serving.server_settings(layout, credentials)
    balancing = caddy.local_configuration(ports, settings.limits, serving.checked_tls(layout))
    write_private(layout.run / "caddy.json", json.dumps(balancing, indent=1))
    storage = seaweedfs.store_settings(layout, ports, credentials)
    # For `nightshift --storage-file`, for a restore elsewhere, and for programs of one's own.
    write_private(layout.secrets / "store.json", storage.to_json())
    write_private(layout.secrets / "backup.json", seaweedfs.backup_settings(ports, credentials).to_json())
    write_private(
        layout.secrets / "serving.env", airflow.shell_lines(serving_environment(layout, storage, credentials))
    )


def serving_environment(layout: Layout, storage: StorageSettings, credentials: Credentials) -> dict[str, str]:
    """Return the variables that hold a model server's settings and secrets: it may read the store, not write it."""
    return {
        STORAGE_VARIABLE: storage.for_readers().to_json(),
        TOKEN_VARIABLE: credentials.serving_token,
        SERVER_VARIABLE: serving.server_settings(layout, credentials).to_json(),
    }


def renew_master_key(layout: Layout) -> None:
    """Have a new version of the master key in every file that services read when they are started."""
    configure(layout, load_ports(layout), add_master_key(layout), _dags(layout))


def renew_logins(layout: Layout) -> None:
    """Have the logins as they are now in the files that Airflow's API server reads when it is started."""
    airflow.configure(layout, load_ports(layout), load_credentials(layout), _dags(layout))


def _dags(layout: Layout) -> Path:
    return Path(airflow.read_environment(layout.airflow_environment)["AIRFLOW__CORE__DAGS_FOLDER"])
