"""Secrets and settings of the platform in containers, made once: what `docker/compose.yaml` mounts.

    python -m operators.local.containers [FOLDER]

Each container is given the files that it needs and no others. They are readable by every user of a container, whatever
its number, so on the host the folder above them is closed to all but you. `credentials.json` is what they are made
of: keep a copy elsewhere. A second run changes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import secrets
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from operators.core.deployment.server.limits import Limits
from operators.local import airflow, caddy, logins, recovery, seaweedfs, services, serving
from operators.local.credentials import Credentials, load_credentials
from operators.local.layout import REPOSITORY, Layout, PlatformError, write_private
from operators.local.ports import SERVERS, STORES
from operators.local.tls import LOOPBACK, Tls

FOLDER = REPOSITORY / "docker" / "platform"
S3_PORT, SERVER_PORT, BALANCER_PORT, METRICS_PORT = 8333, 8000, 8080, 9180
STORE_ADDRESSES = {name: f"http://{name}:{S3_PORT}" for name in STORES}
FOLDERS = {"scratch": "/scratch", "data_docs": "/data_docs"}
"""Where volumes are mounted in a worker; there is no SQLite file to back up."""
AVAILABILITY = "/availability/availability.json"
RECOVERY_KEYS, DRILL_KIT = "/recovery", "drill-kit.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Passwords:
    """What the services beside Airflow and the store ask for; no repr shows one."""

    postgres: str = field(repr=False)
    redis: str = field(repr=False)
    grafana: str = field(repr=False)


def load_passwords(layout: Layout) -> Passwords:
    """Return the passwords, made if there are none yet.

    Raises:
        PlatformError: The file is unreadable or lacks one; it is never overwritten, for the database has it too.
    """
    path = layout.secrets / "passwords.json"
    if not path.exists():
        made = Passwords(postgres=secrets.token_hex(24), redis=secrets.token_hex(24), grafana=secrets.token_urlsafe(12))
        write_private(path, json.dumps(asdict(made)))
    try:
        return Passwords(**json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise PlatformError(f"{path} cannot be read ({type(error).__name__}): put your copy back") from None


def files(layout: Layout) -> dict[str, str]:
    """Return the content of each file by its name, which is the secret's name in the compose file."""
    credentials, passwords, tls = load_credentials(layout), load_passwords(layout), _tls(layout)
    people = logins.load_logins(layout, credentials)
    store = seaweedfs.store_of(STORE_ADDRESSES, "/scratch/cache", credentials)
    backup = seaweedfs.backup_of(STORE_ADDRESSES, credentials)
    recovery.configure(layout, backup, credentials)
    places = airflow.Places(
        store=store,
        backup=backup,
        landing="file:///landing",
        models="/models",
        servers=tuple(f"http://{name}:{SERVER_PORT}" for name in SERVERS),
        balancer=f"{'https' if tls.balancer else 'http'}://balancer:{BALANCER_PORT}",
        folders=FOLDERS,
    )
    # A backup holds the store's keys; the other files of the platform are not a worker's to hold.
    recovered = airflow.recovery_connections(public_keys=RECOVERY_KEYS, files={}, kit=f"/run/secrets/{DRILL_KIT}")
    seen = dataclasses.replace(places, folders={"data_docs": FOLDERS["data_docs"], "availability": AVAILABILITY})
    variables = {
        **_airflow_variables(credentials, passwords, logins.as_airflow_users(people)),
        "connections.env": {**airflow.connections(places, credentials), **recovered},
        "page.env": airflow.page_connections(seen, credentials, RECOVERY_KEYS),
        "serving.env": services.serving_environment(
            layout, seaweedfs.store_of(STORE_ADDRESSES, "/releases/cache", credentials), credentials
        ),
    }
    return {
        **{name: airflow.shell_lines(values) for name, values in variables.items()},
        **{f"{name}.json": seaweedfs.identities(*seaweedfs.keys_of(name, credentials)) for name in STORES},
        "store_settings.json": store.to_json(),
        "backup_settings.json": backup.to_json(),
        "store_readers.json": store.for_readers().to_json(),
        "backup_readers.json": backup.for_readers().to_json(),
        DRILL_KIT: layout.drill_kit.read_text(),
        "airflow_users.json": logins.as_passwords(people),
        "postgres_password": passwords.postgres,
        "grafana_password": passwords.grafana,
        "redis.conf": f"requirepass {passwords.redis}\n",
        "caddy.json": json.dumps(_balancer(serving.server_settings(layout, credentials).limits, tls), indent=1),
        # Compose mounts only files that are there: without TLS they are empty, and Caddy is not told of them.
        "balancer_certificate.pem": Path(tls.balancer.chain).read_text() if tls.balancer else "",
        "balancer_key.pem": Path(tls.balancer.key).read_text() if tls.balancer else "",
    }


def _tls(layout: Layout) -> Tls:
    """Return what callers of the balancer are shown; in containers nothing else is settled by these settings."""
    tls = serving.checked_tls(layout)
    if tls.servers is not None or tls.host != LOOPBACK:
        raise PlatformError(
            f"{layout.secrets}/serving.json: in containers the servers speak plain HTTP, on a network that nothing "
            "leaves, and `ports` of docker/compose.yaml say where the balancer is reached: take tls_certificate, "
            "tls_key, tls_ca and the balancer's host out"
        )
    return tls


def _balancer(limits: Limits, tls: Tls) -> dict[str, Any]:
    """Return Caddy's configuration; nobody needs its admin interface, so there is none."""
    return caddy.configuration(
        listen=f":{BALANCER_PORT}",
        servers=[f"{name}:{SERVER_PORT}" for name in SERVERS],
        limits=limits,
        admin={"disabled": True, "config": {"persist": False}},
        metrics=f":{METRICS_PORT}",
        certificate=("/run/secrets/balancer_certificate.pem", "/run/secrets/balancer_key.pem")
        if tls.balancer
        else None,
    )


def _airflow_variables(credentials: Credentials, passwords: Passwords, users: str) -> dict[str, dict[str, str]]:
    """Return Airflow's secrets, in files by who needs them: no worker has the database's."""
    database, redis = f"airflow:{passwords.postgres}@postgres/airflow", f"redis://:{passwords.redis}@redis:6379"
    return {
        "airflow.env": {"AIRFLOW__API_AUTH__JWT_SECRET": credentials.jwt_secret},
        "database.env": {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "AIRFLOW__CORE__FERNET_KEY": credentials.fernet_key,
        },
        "api.env": {
            "AIRFLOW__API__SECRET_KEY": credentials.api_secret,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users,
        },
        "broker.env": {
            "AIRFLOW__CELERY__BROKER_URL": f"{redis}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"{redis}/1",
        },
    }


def write(folder: Path) -> Path:
    """Have every file there and return the folder that the compose file mounts them from."""
    layout = Layout(home=folder.absolute())
    os.makedirs(layout.secrets, mode=0o700, exist_ok=True)
    layout.secrets.chmod(0o700)
    mounted = layout.secrets / "mounted"
    written = files(layout)
    # Public halves: a folder, for keepers come and go.
    layout.recovery_keys.chmod(0o755)
    for path in layout.recovery_keys.glob("*.pub"):
        path.chmod(0o444)
    for name, content in written.items():
        write_private(mounted / name, content)
        (mounted / name).chmod(0o444)
    return mounted


def main(arguments: list[str]) -> int:
    """Write the files and say where; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m operators.local.containers", description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="default: docker/platform")
    options = parser.parse_args(arguments)
    try:
        mounted = write(options.folder)
    except (PlatformError, OSError) as error:
        print(f"containers: {error}", file=sys.stderr)
        return 2
    print(f"secrets lie in {mounted}; keep a copy of {mounted.parent / 'credentials.json'} elsewhere")
    print(f"log in at http://127.0.0.1:8080 as admin; the password is in {mounted / 'airflow_users.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
