"""The compose file: valid by the specification's schema, and true to the code."""

from __future__ import annotations

import importlib.resources
import importlib.util
import itertools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml

from operators.cli import make_parser
from operators.local import airflow, containers, ports
from operators.local.credentials import load_credentials
from operators.local.layout import Layout
from tests.docker.files import DOCKER, ROOT, compose, inherited, services, stages, words

PROVIDER_OPTIONS = {"celery"}
ONE_SHOT = {"airflow-init", "store-init"}


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `make containers` writes."""
    home = Path(str(tmp_path_factory.mktemp("c"))[:60])
    layout = Layout(home=home)
    layout.secrets.mkdir(parents=True)
    return containers.files(layout)


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_the_schema_is_kept(name: str) -> None:
    """By the Compose Specification's own schema, as check-jsonschema ships it."""
    schema = importlib.resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    document = yaml.safe_load((DOCKER / name).read_text())

    jsonschema.validate(document, json.loads(schema.read_text()))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "services": {"x": {"imgae": "y"}}}, json.loads(schema.read_text()))


def options_of_airflow() -> set[tuple[str, str]]:
    """Return every option of Airflow and of its Celery provider: (section, key)."""
    from airflow.providers.celery.get_provider_info import get_provider_info

    path = Path(importlib.util.find_spec("airflow").origin).parent / "config_templates" / "config.yml"  # type: ignore
    sections = {**yaml.safe_load(path.read_text()), **get_provider_info()["config"]}
    return {(section, key) for section, content in sections.items() for key in content["options"]}


def airflow_variables(mounted: dict[str, str]) -> dict[str, str]:
    """Return every variable of Airflow's configuration that any container is given."""
    found = {key: value for item in services().values() for key, value in item.get("environment", {}).items()}
    for name in ("airflow.env", "database.env", "api.env", "broker.env"):
        found |= dict(line.split("=", 1) for line in mounted[name].splitlines())
    return {key: value for key, value in found.items() if key.startswith("AIRFLOW__")}


def test_every_variable_of_airflow_is_an_option_that_it_has(mounted: dict[str, str]) -> None:
    """A misspelt one would be ignored without a word."""
    named = {tuple(name.lower().split("__")[1:]) for name in airflow_variables(mounted)}

    assert len(named) > 25
    assert named <= options_of_airflow()


def test_airflow_is_as_patient_as_on_one_machine(mounted: dict[str, str], short_path: Path) -> None:
    """Heartbeats, time-outs and retries are those that the tests of `make run` hold."""
    layout = Layout(home=short_path / "h")
    layout.make()
    placed = ports.wanted_ports({})
    local = airflow.environment(layout, placed, load_credentials(layout), Path("/dags"))
    here = airflow_variables(mounted)
    same = ("AIRFLOW__SCHEDULER__", "AIRFLOW__WORKERS__", "AIRFLOW__EXECUTION_API__", "AIRFLOW__DAG_PROCESSOR__")
    expected = {name: value for name, value in local.items() if name.startswith(same)}

    assert expected == {name: here.get(name) for name in expected}


def test_every_command_is_one_that_there_is() -> None:
    """Programs parse their arguments, modules can be found."""
    from airflow.cli.cli_parser import get_parser

    parse = {
        "airflow": lambda arguments: get_parser().parse_args(arguments),
        "nightshift": lambda arguments: make_parser().parse_args(arguments),
        "python": lambda arguments: importlib.util.find_spec(arguments[1]) or pytest.fail(arguments[1]),
    }
    seen = set()
    for service in services().values():
        for program, *arguments in words(service):
            if program in parse:
                parse[program](arguments)
                seen.add(program)

    assert seen == set(parse)


def test_the_database_archives_by_a_command_that_there_is_and_fast_enough() -> None:
    """What PostgreSQL is told is an option of the command line, within the minute that a loss may cost."""
    told = services()["postgres"]["command"]
    settings = dict(option.split("=", 1) for flag, option in itertools.pairwise(told) if flag == "-c")
    program, *arguments = settings["archive_command"].split()
    options = make_parser().parse_args(arguments)
    copied = [rest.split()[-1] for keyword, rest in stages()["database"] if keyword == "COPY"]

    assert (program, options.file) == ("nightshift", "%p")
    assert options.backup_file == "/run/secrets/backup_settings.json"
    assert settings["archive_mode"] == "on"
    assert int(settings["archive_timeout"].removesuffix("s")) < 60
    assert {settings["hba_file"], "/opt/nightshift"} <= set(copied)


def test_the_secrets_are_those_that_are_made(mounted: dict[str, str]) -> None:
    """Each lies where `make containers` puts it, is used, and is declared."""
    declared = compose()["secrets"]
    used = {_source(item) for service in services().values() for item in service.get("secrets", [])}
    expected = containers.FOLDER.relative_to(DOCKER) / "secrets" / "mounted"

    assert used == set(declared) == set(mounted)
    assert all(Path(item["file"]) == expected / name for name, item in declared.items())


def _source(secret: str | dict[str, str]) -> str:
    return secret if isinstance(secret, str) else secret["source"]


def test_each_service_has_the_secrets_that_it_needs_and_no_others() -> None:
    """No worker has the database's; of Airflow's services the API server alone reads the store; servers only read."""
    given = {name: {_source(item) for item in service.get("secrets", [])} for name, service in services().items()}
    who = {secret: {name for name, has in given.items() if secret in has} for secret in compose()["secrets"]}

    assert who["connections.env"] == who["drill-kit.json"] == {"worker"}
    assert who["page.env"] == {"api-server"}
    assert who["database.env"] == {"airflow-init", "api-server", "scheduler", "dag-processor", "triggerer"}
    assert who["broker.env"] == {"scheduler", "worker"}
    assert who["store_settings.json"] == {"store-init"}
    assert who["backup_settings.json"] == {"store-init", "postgres", "base-backup"}
    assert who["postgres_password"] == {"postgres", "base-backup"}
    assert who["store_readers.json"] == who["backup_readers.json"] == {"exporter"}
    assert given["server-1"] == given["server-2"] == {"serving.env"}


READERS = ("serving.env", "page.env", "store_readers.json", "backup_readers.json")


def test_who_only_reads_cannot_write_encrypted_files(mounted: dict[str, str]) -> None:
    """Servers, the exporter and the pages lack the secret that data keys are made from."""
    secret = json.loads(mounted["store_settings.json"])["encryption"]["store_secret"]

    assert secret
    assert not any(secret in mounted[name] for name in READERS)


def test_no_secret_is_in_the_compose_file(mounted: dict[str, str]) -> None:
    """Nor anything that looks like one: passwords come by file."""
    environment = [(key, value) for item in services().values() for key, value in item.get("environment", {}).items()]
    telling = [(key, value) for key, value in environment if re.search("PASSWORD|SECRET|TOKEN|FERNET|SQL_ALCHEMY", key)]

    assert [(key, value) for key, value in telling if not str(value).startswith("/")] == []


def reach(name: str, address: str) -> bool:
    """Say whether a service shares a network with the service of an address."""
    host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
    assert host in services(), f"{name} speaks to {host}, which is no service"
    return bool(set(services()[name]["networks"]) & set(services()[host]["networks"]))


def addresses(text: str) -> set[str]:
    """Return the URLs of other containers in a text."""
    found = set(re.findall(r"[a-z0-9+]+://[^\s\"',]+", text))
    return {url for url in found if not re.match(r"file:|s3:|https?://127\.", url)}


def test_every_address_is_a_service_on_a_network_of_its_caller(mounted: dict[str, str]) -> None:
    """Connections, settings, the executor's and Airflow's own."""
    asked = []
    for name, service in services().items():
        texts = [str(value) for value in service.get("environment", {}).values()]
        texts += [mounted[_source(item)].replace("\\", "") for item in service.get("secrets", [])]
        if name == "airflow-init":
            texts = [mounted["database.env"]]
        asked += [(name, url) for text in texts for url in addresses(text)]
    asked = [(name, url) for name, url in asked if "api-server" not in url or name in ("worker", "scheduler")]

    assert len(asked) > 20
    assert [(name, urlsplit(url).hostname) for name, url in asked if not reach(name, url)] == []


def test_ports_in_addresses_are_ports_that_are_listened_on(mounted: dict[str, str]) -> None:
    """The servers', the stores' and the balancer's are the code's; the images expose them."""
    exposed = {name: {int(port) for key, rest in items if key == "EXPOSE" for port in rest.split()}
               for name, items in stages().items()}  # fmt: skip

    assert exposed["server"] == {containers.SERVER_PORT}
    assert containers.S3_PORT in exposed["store"]
    assert exposed["balancer"] == {containers.BALANCER_PORT, containers.METRICS_PORT}
    assert all(["--port", str(containers.SERVER_PORT)] == _following(name, "--port") for name in ports.SERVERS)


def _following(name: str, flag: str) -> list[str]:
    command = services()[name]["command"]
    at = command.index(flag)
    return list(command[at : at + 2])


def test_databases_are_reached_by_airflow_only_and_nothing_leaves_but_by_edge() -> None:
    """A worker runs recipes' code: it reaches neither the database nor the world."""
    networks = compose()["networks"]
    on = {net: {name for name, item in services().items() if net in item["networks"]} for net in networks}

    assert {name for name, item in networks.items() if not (item or {}).get("internal")} == {"edge"}
    assert "worker" not in on["database"] | on["edge"]
    airflow_services = {"airflow-init", "api-server", "scheduler", "dag-processor", "triggerer"}
    assert on["database"] == {"postgres", "base-backup", *airflow_services}
    assert on["archive"] == {"postgres", "base-backup", "backup-store"}
    assert on["broker"] == {"redis", "scheduler", "worker"}


def test_what_is_published_is_published_on_loopback() -> None:
    """And only what people ask."""
    published = {name: item["ports"] for name, item in services().items() if "ports" in item}

    assert set(published) == {"api-server", "balancer", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports_ in published.values() for port in ports_)


@pytest.mark.parametrize("name", sorted(services()))
def test_every_service_has_limits_and_few_rights(name: str) -> None:
    """Memory and processor are bounded; what we build has no capabilities and cannot write its own files."""
    service: dict[str, Any] = services()[name]
    limits = service["deploy"]["resources"]["limits"]

    assert {"cpus", "memory"} <= set(limits)
    if service["image"].startswith("nightshift-"):
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert service["build"]["target"] == service["image"].removeprefix("nightshift-")
    else:
        assert re.search(r":v?\d+\.\d+", service["image"])


def test_who_is_waited_for_says_when_it_is_well() -> None:
    """A condition on health needs a check, in the compose file or in the image."""
    for name, service in services().items():
        for other, wait in service.get("depends_on", {}).items():
            condition = wait["condition"]
            if condition == "service_healthy":
                assert "healthcheck" in services()[other] or _checks_itself(services()[other]), f"{name} waits"
            if condition == "service_completed_successfully":
                assert other in ONE_SHOT


def _checks_itself(service: dict[str, Any]) -> bool:
    return any(keyword == "HEALTHCHECK" for keyword, _ in inherited(service["build"]["target"]))


def test_volumes_are_mounted_on_folders_that_the_image_gives_to_its_user() -> None:
    """A named volume takes over the owner of what it is mounted on: else it would be root's."""
    made = next(rest for keyword, rest in stages()["base"] if keyword == "RUN") + " /var/lib/postgresql/data "
    for service in services().values():
        if service["image"].startswith("nightshift-"):
            targets = [item.split(":")[1] for item in service.get("volumes", []) if isinstance(item, str)]
            targets += [item["target"] for item in service.get("volumes", []) if isinstance(item, dict)]
            assert all(f" {target} " in f"{made} " for target in targets)
            folders = [item.split(":")[0] for item in service.get("tmpfs", [])]
            assert {"/tmp"} <= set(folders)


def test_the_folders_of_the_connections_are_mounted_in_the_worker(mounted: dict[str, str]) -> None:
    """Landing zone, base models, scratch and Data Docs."""
    targets = {
        item["target"] if isinstance(item, dict) else item.split(":")[1] for item in services()["worker"]["volumes"]
    }

    assert {"/landing", "/models", containers.RECOVERY_KEYS, *containers.FOLDERS.values()} <= targets
    assert "file:///landing" in mounted["connections.env"]
    assert "COPY dags /opt/dags" in [" ".join(line) for line in stages()["worker"]]
    assert {item["environment"]["AIRFLOW__CORE__DAGS_FOLDER"] for name, item in services().items()
            if name in ("scheduler", "dag-processor", "worker")} == {"/opt/dags"}  # fmt: skip
    assert (ROOT / "dags").is_dir()
