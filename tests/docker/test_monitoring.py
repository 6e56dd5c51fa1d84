"""Rules and dashboards: about series that there are, tested by promtool, each alert with its page in the runbook."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric

from operators.core.deployment.server.metrics import ServerMetrics
from operators.core.recovery.metrics import RecoveryMetrics
from operators.core.storage.metrics import StoreMetrics
from tests.docker.files import DOCKER, ROOT, services

PROMETHEUS = DOCKER / "prometheus"
BOARDS = sorted((DOCKER / "grafana" / "dashboards").glob("*.json"))
OTHERS = {
    "up",
    # Asked of the programs themselves in test_images.py.
    "caddy_http_request_duration_seconds_count",
    "caddy_reverse_proxy_upstreams_healthy",
    "SeaweedFS_s3_request_total",
}
NAME = re.compile(r"\b(?:up|(?:nightshift|airflow|caddy|SeaweedFS)_[A-Za-z0-9_]+)\b")


def rules() -> list[dict[str, Any]]:
    """Return every alert."""
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[str]:
    """Return every expression of the dashboards."""
    panels = [panel for path in BOARDS for panel in json.loads(path.read_text())["panels"]]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def series_of(families: Any) -> set[str]:
    """Return the names of samples that families of Nightshift's own may have."""
    found = set()
    for family in families:
        assert isinstance(family, Metric)
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        found |= {family.name + ending for ending in endings}
    return found


def airflow_series() -> set[str]:
    """Return what Airflow's own list of metrics comes to in Prometheus: dots are `_`, counters end in `_total`."""
    folder = Path(importlib.util.find_spec("airflow").origin).parent  # type: ignore[union-attr,arg-type]
    listed = yaml.safe_load((folder / "_shared/observability/metrics/metrics_template.yaml").read_text())["metrics"]
    return {
        f"airflow_{item['name'].replace('.', '_')}" + ("_total" if item["type"] == "counter" else "") for item in listed
    }


def known() -> set[str]:
    """Return every series that anything here brings."""
    server = ServerMetrics("mail_triage", None)  # type: ignore[arg-type] - it is not asked for shares
    families = [family for collector in server.registry._collector_to_names for family in _described(collector)]
    stores = [*StoreMetrics({}).describe(), *RecoveryMetrics({}).describe()]
    return series_of(families) | series_of(stores) | airflow_series() | OTHERS | {"nightshift_share"}


def _described(collector: Any) -> list[Metric]:
    return list(collector.describe()) if hasattr(collector, "describe") else []


def test_every_series_that_is_asked_for_is_one_that_there_is() -> None:
    """In alerts and on dashboards; a renamed metric fails here, not in the night."""
    asked = {name for text in [*queries(), *(rule["expr"] for rule in rules())] for name in NAME.findall(text)}

    assert {"nightshift_share", "airflow_scheduler_heartbeat_total", "nightshift_request_seconds_bucket"} <= asked
    assert asked <= known()


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alert_says_where_the_runbook_begins() -> None:
    """Page and heading are there; it says how bad it is, in words that hold no value but counts and ages."""
    for rule in rules():
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert anchor in anchors(ROOT / path), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"].endswith(".")


def test_every_alert_is_fired_by_a_test() -> None:
    """With the labels and words that it comes with; most are also shown to stay silent."""
    cases = [case for test in yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
             for case in test["alert_rule_test"]]  # fmt: skip
    fired = {case["alertname"] for case in cases if case["exp_alerts"]}
    silent = {case["alertname"] for case in cases if not case["exp_alerts"]}

    assert fired == {rule["alert"] for rule in rules()}
    assert silent <= fired and len(silent) > len(fired) // 2


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what Debian's `prometheus` package says of the files."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: it is in Debian's package prometheus")
    return subprocess.run([program, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)


@pytest.mark.integration
def test_promtool_finds_the_configuration_valid() -> None:
    """With the rules that it names."""
    done = promtool("check", "config", "prometheus.yml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


@pytest.mark.integration
def test_promtool_finds_that_alerts_fire_when_they_should() -> None:
    """The unit tests of the rules."""
    done = promtool("test", "rules", "rules_test.yml")

    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_asks_services_that_there_are() -> None:
    """Each target is a service on a network of Prometheus'."""
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    targets = [target for job in jobs for config in job["static_configs"] for target in config["targets"]]
    reached = set(services()["prometheus"]["networks"])

    assert len(targets) == 8
    for target in targets:
        assert reached & set(services()[target.split(":")[0]]["networks"]), target


def test_the_dashboards_are_provisioned() -> None:
    """From the folder that is mounted, with the data source that they name; ids and places are their own."""
    provider = yaml.safe_load((DOCKER / "grafana/provisioning/dashboards/nightshift.yaml").read_text())["providers"][0]
    source = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    mounts = {item["target"]: item["source"] for item in services()["grafana"]["volumes"] if isinstance(item, dict)}

    assert mounts[provider["options"]["path"]] == "./grafana/dashboards"
    assert source["url"] == "http://prometheus:9090"
    assert len({json.loads(path.read_text())["uid"] for path in BOARDS}) == len(BOARDS) == 2
    for panels in (json.loads(path.read_text())["panels"] for path in BOARDS):
        assert len({panel["id"] for panel in panels}) == len(panels)
        assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
        boxes = [panel["gridPos"] for panel in panels]
        assert all(box["x"] + box["w"] <= 24 for box in boxes)
        assert not any(_overlap(one, two) for at, one in enumerate(boxes) for two in boxes[at + 1 :])


def _overlap(one: dict[str, int], two: dict[str, int]) -> bool:
    across = one["x"] < two["x"] + two["w"] and two["x"] < one["x"] + one["w"]
    return across and one["y"] < two["y"] + two["h"] and two["y"] < one["y"] + one["h"]
