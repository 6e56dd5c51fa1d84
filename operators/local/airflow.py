"""Airflow's settings on one machine: one environment file for services, tasks and the plain `airflow` command."""

from __future__ import annotations

import json
from pathlib import Path

from operators.local import recovery, seaweedfs
from operators.local.credentials import Credentials
from operators.local.layout import HOME_VARIABLE, REPOSITORY, Layout, write_private
from operators.local.ports import SERVERS, Ports

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
            "executor": "LocalExecutor",
            "parallelism": PARALLELISM,
            "load_examples": False,
            "execution_api_server_url": f"{url}/execution/",
            "fernet_key": credentials.fernet_key,
            "simple_auth_manager_users": f"{credentials.ui_user}:admin",
            "simple_auth_manager_passwords_file": layout.secrets / "airflow-users.json",
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
        "dag_processor": {"refresh_interval": 15, "parsing_processes": 1},
    }
    return {f"AIRFLOW__{s.upper()}__{k.upper()}": str(v) for s, options in sections.items() for k, v in options.items()}


def _connections(layout: Layout, ports: Ports, credentials: Credentials) -> dict[str, str]:
    servers = [f"http://127.0.0.1:{ports[server]}" for server in SERVERS]
    local = {
        "scratch": str(layout.scratch),
        "data_docs": str(layout.data_docs),
        "metrics": str(layout.metrics),
        "airflow_database": str(layout.airflow_database),
    }
    return {
        "AIRFLOW_CONN_NIGHTSHIFT_STORE": _connection(
            extra={"storage": json.loads(seaweedfs.store_settings(layout, ports, credentials).to_json())}
        ),
        "AIRFLOW_CONN_NIGHTSHIFT_BACKUP": _connection(
            extra={"storage": json.loads(seaweedfs.backup_settings(ports, credentials).to_json())}
        ),
        "AIRFLOW_CONN_NIGHTSHIFT_LANDING": _connection(extra={"url": layout.landing.as_uri()}),
        "AIRFLOW_CONN_NIGHTSHIFT_MODELS": _connection(extra={"folder": str(layout.models)}),
        "AIRFLOW_CONN_NIGHTSHIFT_PSEUDONYMS": _connection(password=credentials.pseudonym_key),
        "AIRFLOW_CONN_NIGHTSHIFT_SIGNING": _connection(password=credentials.signing_key),
        "AIRFLOW_CONN_NIGHTSHIFT_SERVING": _connection(
            password=credentials.serving_token, extra={"servers": servers, "balancer": balancer_url(ports)}
        ),
        "AIRFLOW_CONN_NIGHTSHIFT_RECOVERY": _connection(
            extra={"public_keys": str(layout.recovery_keys), "files": recovery.secret_files(layout)}
        ),
        "AIRFLOW_CONN_NIGHTSHIFT_DRILL": _connection(extra={"kit": str(layout.drill_kit)}),
        "AIRFLOW_CONN_NIGHTSHIFT_LOCAL": _connection(extra=local),
    }


def _connection(**parts: object) -> str:
    return json.dumps({"conn_type": "generic", **parts})


def ui_url(ports: Ports) -> str:
    """Return the address of Airflow's UI and REST API."""
    return f"http://127.0.0.1:{ports['airflow']}"


def balancer_url(ports: Ports) -> str:
    """Return the address that predictions are asked from."""
    return f"http://127.0.0.1:{ports['balancer']}"


def configure(layout: Layout, ports: Ports, credentials: Credentials, dags: Path = REPOSITORY / "dags") -> None:
    """Write the environment file and the login, both readable by this user only."""
    lines = [f"{name}={_quoted(value)}" for name, value in environment(layout, ports, credentials, dags).items()]
    header = "# Makes the plain `airflow` command speak to this platform:  set -a; . THIS_FILE; set +a\n"
    write_private(layout.airflow_environment, header + "\n".join(lines) + "\n")
    write_private(
        layout.secrets / "airflow-users.json", json.dumps({credentials.ui_user: credentials.ui_password}) + "\n"
    )


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
