"""Manifests and chart values: valid by Kubernetes' schemas, and true to the code."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from operators.cli import make_parser
from operators.local import airflow, ports
from operators.local.containers import files
from operators.local.credentials import load_credentials
from operators.local.layout import Layout
from tests.docker.files import DOCKER, services, stages
from tests.docker.test_compose import options_of_airflow

FOLDER = DOCKER / "kubernetes"
VERSION = "1.33"
SERVED = ("/v2/health/live", "/v2/health/ready")


def documents() -> list[dict[str, Any]]:
    """Return every resource."""
    files = [path for path in sorted(FOLDER.glob("*.yaml")) if path.name != "airflow-values.yaml"]
    return [document for path in files for document in yaml.safe_load_all(path.read_text())]


def pods() -> list[dict[str, Any]]:
    """Return the specification of every pod."""
    found = []
    for document in documents():
        spec = document["spec"]
        found += [spec["template"]["spec"]] if "template" in spec else []
        found += [spec["predictor"]] if "predictor" in spec else []
    return found


def values() -> dict[str, Any]:
    """Return the chart's values."""
    return dict(yaml.safe_load((FOLDER / "airflow-values.yaml").read_text()))


def test_every_resource_is_valid() -> None:
    """By Kubernetes' own schemas; of KServe's, the pod that it makes."""
    own = [item for item in documents() if not item["apiVersion"].startswith("serving.kserve.io")]
    custom = [item for item in documents() if item not in own]
    for document in own:
        kubernetes_validate.validate(document, VERSION, strict=True)
    for document in custom:
        spec = {key: item for key, item in document["spec"]["predictor"].items() if not key.endswith("Replicas")}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
        kubernetes_validate.validate(pod, VERSION, strict=True)

    assert {item["kind"] for item in own} >= {
        "StatefulSet",
        "Service",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "Deployment",
    }
    assert len(custom) == 1


def test_a_wrong_resource_is_found() -> None:
    """What the schemas do not know is refused: the check can fail."""
    document = next(item for item in documents() if item["kind"] == "StatefulSet")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**document, "spec": {**document["spec"], "replica": 2}}, VERSION, strict=True)


@pytest.mark.parametrize("at", range(len(pods())))
def test_no_pod_has_rights_that_it_does_not_need(at: int) -> None:
    """No root, no capabilities, a file system that it cannot write, limits, no token of the cluster."""
    pod = pods()[at]
    [container] = pod["containers"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsUser"] == 10001
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    assert {mount["name"] for mount in container["volumeMounts"]} - {"releases"} <= {
        item["name"] for item in pod["volumes"]
    }


@pytest.mark.parametrize("at", range(len(pods())))
def test_every_command_and_image_is_one_that_there_is(at: int) -> None:
    """Modules can be found, commands parse, ports are listened on, health is asked where it is answered."""
    [container] = pods()[at]["containers"]
    image, program, *arguments = container["image"].split(":")[0], *container["args"]
    listening = {int(argument.rsplit(":", 1)[-1].split("=")[-1]) for argument in arguments
                 if argument.startswith(("--port=", "--listen="))}  # fmt: skip

    assert image.removeprefix("nightshift-") in stages()
    assert {port["containerPort"] for port in container.get("ports", [])} == listening
    if program == "python":
        assert importlib.util.find_spec(arguments[1])
        compose = next(one["command"] for one in services().values() if arguments[1] in one.get("command", ()))
        # Without TLS inside the cluster nobody is told of a certificate.
        known = {word for word in compose if word[:2] == "--"} - {"--certificate"}
        assert {argument.split("=")[0] for argument in arguments[2:]} == known
        assert {container[probe]["httpGet"]["path"] for probe in container if probe.endswith("Probe")} <= set(SERVED)
    else:
        assert program == "nightshift"
        make_parser().parse_args(arguments)


def test_whoever_asks_the_servers_is_let_in() -> None:
    """The watcher wears the label that their network policy names, and asks a service that there is, by its port."""
    by_name = {(item["kind"], item["metadata"]["name"]): item for item in documents()}
    watcher = by_name["Deployment", "watcher"]["spec"]["template"]
    sources = by_name["NetworkPolicy", "server"]["spec"]["ingress"][0]["from"]
    [asked] = [word for word in watcher["spec"]["containers"][0]["args"] if word.startswith("--balancer=")]
    name, port = asked.removeprefix("--balancer=").split(".")[0], int(asked.rpartition(":")[2])

    assert any(
        source["podSelector"]["matchLabels"].items() <= watcher["metadata"]["labels"].items() for source in sources
    )
    assert [one["port"] for one in by_name["Service", name]["spec"]["ports"]] == [port]


def test_services_select_pods_by_ports_that_they_have() -> None:
    """Labels match, named ports are there."""
    pods_by_labels = [item["spec"]["template"] for item in documents() if "template" in item["spec"]]
    for service in (item for item in documents() if item["kind"] == "Service"):
        chosen = [
            pod for pod in pods_by_labels if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        names = {
            port["name"] for pod in chosen for container in pod["spec"]["containers"] for port in container["ports"]
        }
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_the_chart_s_options_are_airflow_s_and_as_patient_as_on_one_machine(short_path: Path) -> None:
    """Sections and keys exist; heartbeats, time-outs and retries are those of `make run`."""
    from airflow.providers.cncf.kubernetes.get_provider_info import get_provider_info

    known = options_of_airflow()
    known |= {(section, key) for section, item in get_provider_info()["config"].items() for key in item["options"]}
    named = {(section, key): value for section, item in values()["config"].items() for key, value in item.items()}
    layout = Layout(home=short_path / "h")
    layout.make()
    local = airflow.environment(layout, ports.wanted_ports({}), load_credentials(layout), Path("/dags"))

    assert set(named) <= known
    for section in ("scheduler", "workers", "execution_api", "dag_processor"):
        prefix = f"AIRFLOW__{section.upper()}__"
        wanted = {name.removeprefix(prefix).lower(): value for name, value in local.items() if name.startswith(prefix)}
        assert wanted.items() <= values()["config"][section].items()


def test_the_chart_s_logins_are_ours(short_path: Path) -> None:
    """Neither its auth manager, which no image of ours holds, nor its `admin` with the password `admin`."""
    chosen = values()
    module, _, name = chosen["config"]["core"]["auth_manager"].rpartition(".")
    copied, written = re.findall(r"install -m 0600 (\S+) (\S+) ", chosen["apiServer"]["args"][-1])[0]
    mounts = {one["name"]: one["mountPath"] for one in chosen["apiServer"]["extraVolumeMounts"]}

    assert isinstance(getattr(importlib.import_module(module), name), type)
    assert chosen["createUserJob"]["defaultUser"]["enabled"] is False
    assert written == chosen["config"]["core"]["simple_auth_manager_passwords_file"]
    assert copied == f"{mounts['page']}/airflow_users.json"
    assert {"api.env", "page.env", "airflow_users.json"} <= set(files(Layout(home=short_path / "platform")))


def test_the_chart_runs_the_images_as_their_user() -> None:
    """Tasks run in the worker's image with the connections' folders mounted; DAGs lie where the image has them."""
    chosen = values()
    mounts = {mount["mountPath"] for mount in chosen["workers"]["extraVolumeMounts"]}
    environment = {item["name"]: item["value"] for item in chosen["env"]}

    assert (chosen["uid"], chosen["executor"]) == (10001, "KubernetesExecutor")
    assert chosen["defaultAirflowRepository"].removeprefix("nightshift-") in stages()
    assert chosen["images"]["pod_template"]["repository"].removeprefix("nightshift-") in stages()
    assert {"/landing", "/models", "/scratch", "/data_docs", environment["SECRETS_FOLDER"]} <= mounts
    assert chosen["config"]["core"]["dags_folder"] == chosen["dags"]["mountPath"] == "/opt/dags"
    assert chosen["airflowVersion"] == importlib.metadata.version("apache-airflow-core")
