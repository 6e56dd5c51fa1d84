"""What the services are told: loopback only, secrets in private files only, ports as placed."""

from __future__ import annotations

import configparser
import json
import stat
import subprocess
from pathlib import Path

import pytest

from operators.core.settings import StorageSettings
from operators.local import airflow, caddy, ports, seaweedfs, services
from operators.local.credentials import Credentials, load_credentials
from operators.local.layout import Layout, PlatformError
from operators.local.supervisor import configuration

PLACED = ports.wanted_ports({ports.BASE_VARIABLE: "20000"})


@pytest.fixture
def layout(short_path: Path) -> Layout:
    """An empty platform's folders."""
    layout = Layout(home=short_path / "h")
    layout.make()
    return layout


@pytest.fixture
def credentials(layout: Layout) -> Credentials:
    """Its secrets."""
    return load_credentials(layout)


def test_secrets_are_generated_once(layout: Layout, credentials: Credentials):
    """A second look finds the same secrets; the file is private and no repr shows them."""
    again = load_credentials(layout)

    assert credentials == again
    assert stat.S_IMODE((layout.secrets / "credentials.json").stat().st_mode) == 0o600
    assert credentials.ui_password not in repr(credentials)


def test_a_damaged_secrets_file_is_never_replaced(layout: Layout, credentials: Credentials):
    """Old data depends on these keys: the file stays, and the message names it."""
    (layout.secrets / "credentials.json").write_text("{}")

    with pytest.raises(PlatformError, match=r"credentials\.json cannot be read"):
        load_credentials(layout)
    assert (layout.secrets / "credentials.json").read_text() == "{}"


def test_the_backup_has_other_credentials_than_the_store(credentials: Credentials):
    """Who holds the store's keys cannot write the backup."""
    store = seaweedfs.store_settings(PLACED, credentials)
    backup = seaweedfs.backup_settings(PLACED, credentials)

    assert {item.secret_key for item in store.endpoints}.isdisjoint(item.secret_key for item in backup.endpoints)
    assert (len(store.endpoints), store.acknowledge) == (3, 2)


def test_the_environment_file_is_what_a_shell_reads(layout: Layout, credentials: Credentials):
    """`set -a; . FILE` and our own reader give the same variables, quotes and JSON included."""
    airflow.configure(layout, PLACED, credentials)
    shell = f"set -a; . {layout.airflow_environment}; env -0"
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=True, env={})
    seen = dict(item.split("=", 1) for item in done.stdout.split("\0") if item)

    expected = airflow.environment(layout, PLACED, credentials, Path(airflow.REPOSITORY / "dags"))
    assert expected == {name: seen[name] for name in expected}
    assert expected == airflow.read_environment(layout.airflow_environment)
    assert stat.S_IMODE(layout.airflow_environment.stat().st_mode) == 0o600


def test_the_store_connection_holds_the_settings(layout: Layout, credentials: Credentials):
    """The connection's extra reads back as storage settings."""
    variables = airflow.environment(layout, PLACED, credentials, Path("/dags"))
    extra = json.loads(variables["AIRFLOW_CONN_NIGHTSHIFT_STORE"])["extra"]

    assert seaweedfs.store_settings(PLACED, credentials) == StorageSettings.from_json(json.dumps(extra["storage"]))


def test_the_balancer_serves_inference_only_and_on_loopback():
    """No route leads to the servers' repository or metrics; nothing listens beyond this machine."""
    document = caddy.configuration(PLACED)
    server = document["apps"]["http"]["servers"]["inference"]

    assert server["routes"][0]["match"][0]["path"] == ["/v2", "/v2/", "/v2/models/*", "/v2/health/*"]
    assert [f"127.0.0.1:{PLACED['balancer']}"] == server["listen"]
    assert document["admin"]["listen"].startswith("127.0.0.1:")
    assert server["automatic_https"] == {"disable": True}


def test_caddy_accepts_the_configuration(tmp_path: Path):
    """Caddy itself finds the document valid."""
    path = tmp_path / "caddy.json"
    path.write_text(json.dumps(caddy.configuration(PLACED)))
    done = subprocess.run(
        [str(services.BIN / "caddy"), "validate", "--config", str(path)],
        capture_output=True, text=True, check=False, env={"HOME": str(tmp_path)},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def test_every_port_of_an_object_store_is_named(layout: Layout):
    """No port is left to SeaweedFS's defaults, which clash between servers; telemetry is off."""
    command = seaweedfs.command("store-2", layout, PLACED, Path("weed"))
    named = {int(part.rsplit("=", 1)[1]) for part in command if ".port" in part}

    assert {0} | {port for name, port in PLACED.items() if name.startswith("store-2-")} == named
    assert "-master.telemetry=false" in command


def test_supervisord_ends_whole_groups_and_starts_again_what_died(layout: Layout):
    """Every service comes back by itself, and no part of it outlives it."""
    parser = configparser.RawConfigParser()
    parser.read_string(configuration(layout, services.all_services(layout, PLACED)))
    programs = [parser[section] for section in parser.sections() if section.startswith("program:")]

    assert len(ports.STORES) + len(ports.SERVERS) + len(services.AIRFLOW_SERVICES) + 1 == len(programs)
    assert all(
        program["autorestart"] == program["killasgroup"] == program["stopasgroup"] == "true" for program in programs
    )
    assert {"KILL"} == {parser[f"program:{name}"]["stopsignal"] for name in ports.STORES}


def test_no_secret_stands_on_a_command_line(layout: Layout, credentials: Credentials):
    """Other users see command lines: secrets travel in private files."""
    text = configuration(layout, services.all_services(layout, PLACED))

    assert not any(secret in text for secret in vars_of(credentials))


def vars_of(credentials: Credentials) -> list[str]:
    """Return every secret."""
    return [getattr(credentials, name) for name in credentials.__slots__]


def test_a_home_too_long_for_a_socket_is_refused(tmp_path: Path):
    """Unix sockets have short paths; the message says so rather than the supervisor's failure."""
    with pytest.raises(PlatformError, match="Unix sockets"):
        Layout(home=tmp_path / ("x" * 100))
