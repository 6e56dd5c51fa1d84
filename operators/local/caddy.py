"""The load balancer: Caddy over the model servers, with a configuration that never changes under traffic.

Which release a request meets is decided in the servers: a change here would close keep-alive connections (7 of 13,488
requests failed over 12 changes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from operators.local.ports import SERVERS, Ports

PATHS = ["/v2", "/v2/", "/v2/models/*", "/v2/health/*"]
"""The inference routes of the Open Inference Protocol; the servers' repository routes and metrics stay inside."""

REQUEST_BYTES = 1 << 20
"""What a model server takes at most."""


def local_configuration(ports: Ports) -> dict[str, Any]:
    """Return the configuration of the one-machine platform: everything on loopback."""
    return configuration(
        listen=f"127.0.0.1:{ports['balancer']}",
        servers=[f"127.0.0.1:{ports[server]}" for server in SERVERS],
        admin={"listen": f"127.0.0.1:{ports['balancer-admin']}", "config": {"persist": False}},
    )


def configuration(
    *, listen: str, servers: Sequence[str], admin: dict[str, Any], metrics: str | None = None
) -> dict[str, Any]:
    """Return Caddy's configuration document: one route, health-checked, a failed request tried on the other server.

    Args:
        listen: Address that predictions are asked at.
        servers: Addresses of the model servers.
        admin: Caddy's own `admin` settings: who reaches that address may change all of this.
        metrics: Address that answers Prometheus and nothing else; None for none.
    """
    routes = [
        {"match": [{"path": PATHS}], "handle": [_limit(), _proxy(servers)], "terminal": True},
        {"handle": [{"handler": "static_response", "status_code": 404, "body": "not served here\n"}]},
    ]
    inference = {"listen": [listen], "automatic_https": {"disable": True}, "routes": routes}
    http: dict[str, Any] = {"servers": {"inference": inference}}
    if metrics is not None:
        scrape = {"match": [{"path": ["/metrics"]}], "handle": [{"handler": "metrics"}], "terminal": True}
        http["servers"]["metrics"] = {"listen": [metrics], "automatic_https": {"disable": True}, "routes": [scrape]}
        http["metrics"] = {}
    return {"admin": admin, "logging": {"logs": {"default": {"level": "WARN"}}}, "apps": {"http": http}}


def _limit() -> dict[str, Any]:
    return {"handler": "request_body", "max_size": REQUEST_BYTES}


def _proxy(servers: Sequence[str]) -> dict[str, Any]:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": server} for server in servers],
        # The buffer lets a POST whose server died be sent again; predictions have no side effects.
        "request_buffers": REQUEST_BYTES,
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            "try_duration": "3s",
            "try_interval": "50ms",
            "retry_match": [{"method": ["GET", "HEAD", "POST"]}],
        },
        "health_checks": {
            "active": {"uri": "/v2/health/ready", "interval": "500ms", "timeout": "2s", "expect_status": 200},
            "passive": {"fail_duration": "2s", "max_fails": 1},
        },
    }
