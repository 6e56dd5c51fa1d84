"""Airflow's own metrics, as a real exporter of its sends them: the names that alerts and dashboards ask for."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.docker.files import services

SEND = """
from airflow._shared.observability.metrics import stats
from airflow.observability.metrics import stats_utils
from airflow.configuration import conf
legacy = conf.getboolean("metrics", "legacy_names_on")
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=legacy)
stats.incr("scheduler_heartbeat", 1, 1)
stats.gauge("dag_processing.import_errors", 2)
from airflow._shared.observability.metrics.otel_logger import flush_otel_metrics
flush_otel_metrics()
"""


class Receiver(http.server.ThreadingHTTPServer):
    """A server that takes what Prometheus would."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[tuple[str, ExportMetricsServiceRequest]] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        request = ExportMetricsServiceRequest()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        request.ParseFromString(body)
        self.server.taken.append((self.path, request))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """The receiver, up."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.integration
def test_airflow_sends_what_is_asked_for_to_the_address_that_it_is_given(receiver: Receiver, tmp_path: Path) -> None:
    """By the scheduler's environment of the compose file: a counter that only grows, a gauge, the service's name."""
    given = {name: str(value) for name, value in services()["scheduler"]["environment"].items()}
    address = given["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"]
    given["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] = address.replace(
        "prometheus:9090", f"127.0.0.1:{receiver.server_port}"
    )
    environment = {**given, "AIRFLOW_HOME": str(tmp_path), "PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"}
    done = subprocess.run([sys.executable, "-c", SEND], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]

    path, request = receiver.taken[0]
    [resource] = request.resource_metrics
    metrics = {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
    names = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert path == "/api/v1/otlp/v1/metrics"
    assert names["service.name"] == "scheduler"
    assert metrics["airflow.scheduler_heartbeat"].sum.is_monotonic
    assert metrics["airflow.dag_processing.import_errors"].gauge.data_points[0].as_int == 2
