"""What the services are told: loopback only, secrets in private files only, ports as placed."""

from __future__ import annotations

import configparser
import json
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from operators.core.deployment.server.limits import Limits
from operators.core.deployment.server.settings import ServerSettings
from operators.core.settings import StorageSettings
from operators.core.signing import Signer
from operators.local import airflow, caddy, ports, seaweedfs, services, serving
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


def test_no_secret_is_shown(layout: Layout, credentials: Credentials):
    """Neither the secrets themselves nor the settings made of them print one."""
    shown = (
        repr(credentials) + repr(seaweedfs.store_settings(layout, PLACED, credentials)) + repr(credentials.encryption)
    )

    assert not any(secret in shown for secret in vars_of(credentials))


def test_a_platform_from_before_encryption_is_given_keys(layout: Layout, credentials: Credentials):
    """Every other secret stays, the keys are made once, and the file stays private."""
    path = layout.secrets / "credentials.json"
    old = {name: value for name, value in json.loads(path.read_text()).items() if name not in KEYS}
    path.write_text(json.dumps(old))
    upgraded = load_credentials(layout)

    assert load_credentials(layout) == upgraded
    assert old == {name: getattr(upgraded, name) for name in old}
    assert upgraded.encryption_secret != credentials.encryption_secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_platform_from_before_signatures_is_given_a_key(layout: Layout, credentials: Credentials):
    """Every other secret stays, and the gate finds the new one in its connection."""
    path = layout.secrets / "credentials.json"
    old = {name: value for name, value in json.loads(path.read_text()).items() if name != "signing_key"}
    path.write_text(json.dumps(old))
    upgraded = load_credentials(layout)
    variables = airflow.environment(layout, PLACED, upgraded, Path("/dags"))

    assert load_credentials(layout) == upgraded
    assert old == {name: getattr(upgraded, name) for name in old}
    assert json.loads(variables["AIRFLOW_CONN_NIGHTSHIFT_SIGNING"])["password"] == upgraded.signing_key


KEYS = ("encryption_secret", "master_keys")


@pytest.mark.parametrize(
    "harm",
    [{"encryption_secret": None}, {"master_keys": None}, {"master_keys": {}}, {"master_keys": {"1": "5"}}],
    ids=["secret gone", "masters gone", "no master", "a short master"],
)
def test_damaged_keys_are_never_replaced(layout: Layout, credentials: Credentials, harm: dict):
    """One of the two without the other, or what is no key: the message names the file and repeats nothing."""
    path = layout.secrets / "credentials.json"
    document = json.loads(path.read_text()) | harm
    path.write_text(json.dumps({name: value for name, value in document.items() if value is not None}))
    before = path.read_text()
    with pytest.raises(PlatformError, match=r"credentials\.json cannot be read") as caught:
        load_credentials(layout)

    assert path.read_text() == before
    assert not any(secret in str(caught.value) for secret in vars_of(credentials))


def test_files_are_encrypted_by_default_and_the_backup_opens_with_the_store_s_keys(
    layout: Layout, credentials: Credentials
):
    """Store and backup have one secret and one set of master keys."""
    store, backup = (
        seaweedfs.store_settings(layout, PLACED, credentials),
        seaweedfs.backup_settings(PLACED, credentials),
    )

    assert store.encryption is not None
    assert store.encryption == backup.encryption
    assert store.encryption.current == 1


def test_a_new_master_key_is_current_and_the_old_one_stays(layout: Layout, credentials: Credentials):
    """Every file that services read has both versions; what else there was is as before."""
    services.configure(layout, PLACED, credentials, Path("/my/dags"))
    ports.save(layout, PLACED)
    services.renew_master_key(layout)
    renewed = load_credentials(layout)
    store = StorageSettings.from_json((layout.secrets / "store.json").read_text())
    variables = airflow.read_environment(layout.airflow_environment)

    assert renewed.encryption.current == 2
    assert {"1": credentials.master_keys["1"]}.items() <= renewed.master_keys.items()
    assert store == seaweedfs.store_settings(layout, PLACED, renewed)
    assert renewed.master_keys["2"] in variables["AIRFLOW_CONN_NIGHTSHIFT_STORE"]
    assert variables["AIRFLOW__CORE__DAGS_FOLDER"] == "/my/dags"
    assert renewed.encryption_secret == credentials.encryption_secret


def test_model_servers_can_read_and_not_write(layout: Layout, credentials: Credentials):
    """Their environment holds the master keys, and not the secret that data keys are made from."""
    services.configure(layout, PLACED, credentials, Path("/dags"))
    text = (layout.secrets / "serving.env").read_text()

    assert credentials.master_keys["1"] in text
    assert credentials.encryption_secret not in text


def test_model_servers_trust_the_platform_s_gate(layout: Layout, credentials: Credentials):
    """Their environment holds the public half of the signing key, and not the private one."""
    services.configure(layout, PLACED, credentials, Path("/dags"))
    variables = airflow.read_environment(layout.secrets / "serving.env")

    own = Signer(bytes.fromhex(credentials.signing_key)).public_key
    assert ServerSettings.from_environment(variables) == ServerSettings(trusted=(own,))
    assert credentials.signing_key not in "".join(variables.values())


def test_the_operator_s_file_adds_keys_and_limits(layout: Layout, credentials: Credentials):
    """Who lists API keys lets the platform ask too; what else the file says stands."""
    (layout.secrets / "serving.json").write_text(
        json.dumps({"trusted": ["ab" * 32], "api_keys": {"mail": "cd" * 32}, "limits": {"queue_texts": 100}})
    )
    settings = serving.server_settings(layout, credentials)

    assert settings.trusted[1:] == ("ab" * 32,)
    assert settings.api_keys == {"mail": "cd" * 32, "platform": serving.digest_of(serving.own_key(credentials))}
    assert settings.limits.queue_texts == 100


@pytest.mark.parametrize("text", ["{", "[]", '{"key": 1}', '{"limits": {"parallel": 0}}', '{"api_keys": {"a": "b"}}'])
def test_an_operator_s_file_that_cannot_be_is_named(layout: Layout, credentials: Credentials, text: str):
    """The message names the file and what is wrong with it."""
    (layout.secrets / "serving.json").write_text(text)

    with pytest.raises(PlatformError, match=r"serving\.json cannot be used"):
        serving.server_settings(layout, credentials)


def test_the_backup_has_other_credentials_than_the_store(layout: Layout, credentials: Credentials):
    """Who holds the store's keys cannot write the backup."""
    store = seaweedfs.store_settings(layout, PLACED, credentials)
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

    assert seaweedfs.store_settings(layout, PLACED, credentials) == StorageSettings.from_json(
        json.dumps(extra["storage"])
    )


def test_the_balancer_serves_inference_only_and_on_loopback():
    """No route leads to the servers' repository or metrics; nothing listens beyond this machine."""
    document = caddy.local_configuration(PLACED, Limits())
    server = document["apps"]["http"]["servers"]["inference"]

    assert server["routes"][0]["match"][0]["path"] == ["/v2", "/v2/", "/v2/models/*", "/v2/health/*"]
    assert [f"127.0.0.1:{PLACED['balancer']}"] == server["listen"]
    assert document["admin"]["listen"].startswith("127.0.0.1:")
    assert server["automatic_https"] == {"disable": True}


def test_the_balancer_has_a_place_for_every_server_there_may_be():
    """Places are as many as the settings allow, started or not; who comes and goes is chosen by connections."""
    three = ports.wanted_ports({ports.PLACES_VARIABLE: "3"})
    two = ports.wanted_ports({ports.PLACES_VARIABLE: "2"})
    found = [
        caddy.local_configuration(placed, Limits())["apps"]["http"]["servers"]["inference"]["routes"][0]["handle"][1]
        for placed in (three, two)
    ]

    assert [f"127.0.0.1:{three[f'server-{n}']}" for n in (1, 2, 3)] == [one["dial"] for one in found[0]["upstreams"]]
    assert [one["load_balancing"]["selection_policy"]["policy"] for one in found] == ["least_conn", "round_robin"]


def test_the_supervisor_waits_longer_than_a_server_may_take_to_end(layout: Layout):
    """A server that lets its requests finish is not killed meanwhile."""
    limits = Limits()
    parser = configparser.RawConfigParser()
    parser.read_string(configuration(layout, services.all_services(layout, PLACED)))

    waits = parser.getint("program:server-1", "stopwaitsecs")
    assert waits > limits.unready_seconds + 2 * limits.drain_seconds
    assert limits.drain_seconds > limits.request_seconds
    assert limits.unready_seconds > 2 * caddy.CHECK_SECONDS


def test_no_log_grows_without_end(layout: Layout):
    """The supervisor's own and each service's are turned over, and a few old ones kept."""
    parser = configparser.RawConfigParser()
    parser.read_string(configuration(layout, services.all_services(layout, PLACED)))
    sections = [name for name in parser.sections() if name.startswith("program:")]

    assert len(sections) > 10
    for section in sections:
        assert parser[section]["stdout_logfile_maxbytes"] == "10MB" and parser[section]["redirect_stderr"] == "true"
        assert int(parser[section]["stdout_logfile_backups"]) > 0
    assert parser["supervisord"]["logfile_maxbytes"] == "5MB" and int(parser["supervisord"]["logfile_backups"]) > 0


def test_caddy_accepts_the_configuration(tmp_path: Path):
    """Caddy itself finds the document valid."""
    path = tmp_path / "caddy.json"
    path.write_text(json.dumps(caddy.local_configuration(PLACED, Limits())))
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

    assert len(ports.STORES) + len(ports.SERVERS) + len(services.AIRFLOW_SERVICES) + 2 == len(programs)
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
    values = [getattr(credentials, name) for name in credentials.__slots__ if name != "master_keys"]
    return [*values, *credentials.master_keys.values()]


def test_a_home_too_long_for_a_socket_is_refused(tmp_path: Path):
    """Unix sockets have short paths; the message says so rather than the supervisor's failure."""
    with pytest.raises(PlatformError, match="Unix sockets"):
        Layout(home=tmp_path / ("x" * 100))


def test_the_runbook_s_way_to_another_signing_key(layout: Layout, credentials: Credentials):
    """Its own line, run: gate, servers and the drill's kit have the new key, nothing else changed."""
    runbook = (airflow.REPOSITORY / "docs" / "runbook.md").read_text()
    line = next(line for line in runbook.splitlines() if line.strip().startswith("sed ") and "signing_key" in line)
    line = line.replace("var/secrets", str(layout.secrets))
    subprocess.run(["/bin/sh", "-c", line], check=True)
    changed = load_credentials(layout)
    services.configure(layout, PLACED, changed, Path("/dags"))
    public = Signer(bytes.fromhex(changed.signing_key)).public_key
    gate = airflow.read_environment(layout.airflow_environment)["AIRFLOW_CONN_NIGHTSHIFT_SIGNING"]
    server = ServerSettings.from_environment(airflow.read_environment(layout.secrets / "serving.env"))

    assert changed.signing_key != credentials.signing_key
    assert replace(changed, signing_key=credentials.signing_key) == credentials
    assert json.loads(gate)["password"] == changed.signing_key
    assert server.trusted == (public,)
    assert json.loads(layout.drill_kit.read_text())["trusted"] == [public]
