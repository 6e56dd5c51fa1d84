"""Airflow's settings on one machine: one environment file for services, tasks and the plain `airflow` command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from operators.core.settings import StorageSettings
from operators.local import recovery, seaweedfs
from operators.local.credentials import Credentials
from operators.local.layout import HOME_VARIABLE, REPOSITORY, Layout, write_private
from operators.local.logins import as_airflow_users, as_passwords, load_logins
from operators.local.ports import Ports
from operators.local.serving import serving_settings

PARALLELISM = 4
"""Tasks at once; each holds about 300 MB before it does anything, and training takes every core anyway."""

HEARTBEAT_SECONDS = 5
HEARTBEAT_TIMEOUT_SECONDS = 30
"""A task not heard of for so long is dead and is tried again: a killed one loses a minute, not Airflow's five."""


def environment(layout: Layout, ports: Ports, credentials: Credentials, dags: Path) -> dict[str, str]:
    """Return every variable that makes a process part of this Airflow."""
    return {
        HOME_VARIABLE: str(layout.home),
        "AIRFLOW_HOME": str(layout.airflow),
        # A proxy that the user's shell names is for the world outside; every server here is on loopback.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        # Great Expectations would report its use over the network.
        "GX_ANALYTICS_ENABLED": "false",
        **_options(layout, ports, credentials, dags),
        **_connections(layout, ports, credentials),
    }


def _options(layout: Layout, ports: Ports, credentials: Credentials, dags: Path) -> dict[str, str]:
    url = ui_url(ports)
    sections: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": dags,
            # The plugin comes by its entry point; a folder as well would load it twice.
            "plugins_folder": layout.airflow / "plugins",
            "executor": "operators.local.executor.SteadyLocalExecutor",
            "parallelism": PARALLELISM,
            "load_examples": False,
            "execution_api_server_url": f"{url}/execution/",
            "fernet_key": credentials.fernet_key,
            "simple_auth_manager_users": as_airflow_users(load_logins(layout, credentials)),
            "simple_auth_manager_passwords_file": layout.passwords,
            "hostname_callable": "socket.gethostname",
        },
        "database": {"sql_alchemy_conn": f"sqlite:///{layout.airflow_database}"},
        "api": {
            "host": "127.0.0.1",
            "port": ports["airflow"],
            "base_url": url,
            "workers": 1,
            "secret_key": credentials.api_secret,
        },
        "api_auth": {"jwt_secret": credentials.jwt_secret},
        # A task may wait in the queue behind others for longer than the ten minutes that its first token lasts.
        "execution_api": {"jwt_expiration_time": 3600},
        "logging": {
            "base_log_folder": layout.log / "tasks",
            "dag_processor_child_process_log_directory": layout.log / "tasks" / "dag_processor",
        },
        **_patience(),
        "dag_processor": {"refresh_interval": 15, "parsing_processes": 1},
    }
    return {f"AIRFLOW__{s.upper()}__{k.upper()}": str(v) for s, options in sections.items() for k, v in options.items()}


def _patience() -> dict[str, dict[str, object]]:
    """Return the options that say how soon something killed is noticed, and how long its absence is sat out."""
    return {
        "scheduler": {
            "task_instance_heartbeat_sec": HEARTBEAT_SECONDS,
            "task_instance_heartbeat_timeout": HEARTBEAT_TIMEOUT_SECONDS,
            "task_instance_heartbeat_timeout_detection_interval": 5,
            "orphaned_tasks_check_interval": 15,
            # A killed scheduler's tasks are taken over only once it counts as dead; it says it lives every 5 s.
            "scheduler_health_check_threshold": 20,
        },
        # Restarting a killed API server takes about 10 s; tasks sit that out rather than end themselves.
        "workers": {
            "min_heartbeat_interval": HEARTBEAT_SECONDS,
            "max_failed_heartbeats": 12,
            "execution_api_retries": 8,
        },
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where a platform keeps what its tasks reach."""

    store: StorageSettings
    backup: StorageSettings
    landing: str
    """URL of the landing zone."""
    models: str
    """Folder of the base models."""
    servers: tuple[str, ...]
    balancer: str
    servers_ca: str | None = None
    """File that the servers' TLS is verified with; None where they speak without."""
    folders: Mapping[str, str]
    """The extra of `nightshift_local`."""


def _connections(layout: Layout, ports: Ports, credentials: Credentials) -> dict[str, str]:
    served = serving_settings(layout, ports, credentials)
    places = Places(
        store=seaweedfs.store_settings(layout, ports, credentials),
        backup=seaweedfs.backup_settings(ports, credentials),
        landing=layout.landing.as_uri(),
        models=str(layout.models),
        servers=served.servers,
        balancer=served.balancer_url,
        servers_ca=served.ca_file,
        folders={
            "scratch": str(layout.scratch),
            "data_docs": str(layout.data_docs),
            "airflow_database": str(layout.airflow_database),
            "availability": str(layout.availability),
            "task_logs": str(layout.log / "tasks"),
        },
    )
    keys, files = str(layout.recovery_keys), recovery.secret_files(layout)
    return {
        **connections(places, credentials),
        **recovery_connections(public_keys=keys, files=files, kit=str(layout.drill_kit)),
    }


def connections(places: Places, credentials: Credentials) -> dict[str, str]:
    """Return the variables that hold the connections of operators/connections that every platform has."""
    return _named(
        store={"extra": {"storage": json.loads(places.store.to_json())}},
        backup={"extra": {"storage": json.loads(places.backup.to_json())}},
        landing={"extra": {"url": places.landing}},
        models={"extra": {"folder": places.models}},
        pseudonyms={"password": credentials.pseudonym_key},
        signing={"password": credentials.signing_key},
        serving=_serving(places, credentials),
        local={"extra": dict(places.folders)},
    )


def recovery_connections(*, public_keys: str, files: Mapping[str, str], kit: str) -> dict[str, str]:
    """Return the variables that hold for whom backups are sealed, and the drill's kit."""
    return _named(recovery={"extra": {"public_keys": public_keys, "files": dict(files)}}, drill={"extra": {"kit": kit}})


def page_connections(places: Places, credentials: Credentials, public_keys: str) -> dict[str, str]:
    """Return the variables of an API server whose tasks run elsewhere: what the pages read, and nothing that writes."""
    return _named(
        store={"extra": {"storage": json.loads(places.store.for_readers().to_json())}},
        backup={"extra": {"storage": json.loads(places.backup.for_readers().to_json())}},
        serving=_serving(places, credentials),
        local={"extra": dict(places.folders)},
        recovery={"extra": {"public_keys": public_keys}},
    )


def _serving(places: Places, credentials: Credentials) -> dict[str, object]:
    trusting = {"ca_file": places.servers_ca} if places.servers_ca else {}
    extra = {"servers": places.servers, "balancer": places.balancer, **trusting}
    return {"password": credentials.serving_token, "extra": extra}


def _named(**parts: dict[str, object]) -> dict[str, str]:
    return {f"AIRFLOW_CONN_NIGHTSHIFT_{name.upper()}": _connection(**part) for name, part in parts.items()}


def _connection(**parts: object) -> str:
    return json.dumps({"conn_type": "generic", **parts})


def ui_url(ports: Ports) -> str:
    """Return the address of Airflow's UI and REST API."""
    return f"http://127.0.0.1:{ports['airflow']}"


def configure(layout: Layout, ports: Ports, credentials: Credentials, dags: Path = REPOSITORY / "dags") -> None:
    """Write the environment file and the passwords of all logins, both readable by this user only."""
    header = "# Makes the plain `airflow` command speak to this platform:  set -a; . THIS_FILE; set +a\n"
    write_private(layout.airflow_environment, header + shell_lines(environment(layout, ports, credentials, dags)))
    write_private(layout.passwords, as_passwords(load_logins(layout, credentials)))


def shell_lines(variables: Mapping[str, str]) -> str:
    """Return what a shell reads as these variables, and `read_environment` too."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in variables.items())


def _quoted(value: str) -> str:
    """Quote for a shell; no value of ours holds a line break."""
    return "'" + value.replace("'", "'\\''") + "'"


def read_environment(path: Path) -> dict[str, str]:
    """Return the variables of a file that `configure` wrote."""
    variables = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, quoted = line.partition("=")
            variables[name] = quoted[1:-1].replace("'\\''", "'")
    return variables
