"""The load balancer: Caddy over the model servers, with a configuration that never changes under traffic.

Which release a request meets is decided in the servers: a change here would close keep-alive connections (7 of 13,488
requests failed over 12 changes). So every place for a server is known from the start, and health checks say which of
them are taken.
"""

from __future__ import annotations

from typing import Any

from operators.core.deployment.server.limits import Limits
from operators.local.ports import SERVERS, Ports, slots

PATHS = ["/v2", "/v2/", "/v2/models/*", "/v2/health/*"]
"""The inference routes of the Open Inference Protocol; the servers' repository routes and metrics stay inside."""
CHECK_SECONDS = 0.5
"""Between two health checks: a server that is told to end is not ready for two of them before its port closes."""


def configuration(ports: Ports, limits: Limits) -> dict[str, Any]:
    """Return Caddy's configuration document: one route, health-checked, a failed request tried on another server.

    Args:
        ports: Where all listens, every place for a model server included.
        limits: What a model server takes.
    """
    route = {"match": [{"path": PATHS}], "handle": [_limit(limits), _proxy(ports, limits)], "terminal": True}
    nothing = {"handle": [{"handler": "static_response", "status_code": 404, "body": "not served here\n"}]}
    server = {
        "listen": [f"127.0.0.1:{ports['balancer']}"],
        "automatic_https": {"disable": True},
        "read_header_timeout": "10s",
        "read_timeout": f"{limits.body_seconds + 10:g}s",
        "idle_timeout": "2m",
        "routes": [route, nothing],
    }
    return {
        "admin": {"listen": f"127.0.0.1:{ports['balancer-admin']}", "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "WARN"}}},
        "apps": {"http": {"servers": {"inference": server}}},
    }


def _limit(limits: Limits) -> dict[str, Any]:
    return {"handler": "request_body", "max_size": limits.body_bytes}


def _proxy(ports: Ports, limits: Limits) -> dict[str, Any]:
    places = slots(ports)
    # Servers that come and go have unlike loads; for a fixed set taking turns is the fairer rule.
    policy = "least_conn" if len(places) > len(SERVERS) else "round_robin"
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"127.0.0.1:{ports[place]}"} for place in places],
        # The buffer lets a POST whose server died be sent again; predictions have no side effects.
        "request_buffers": limits.body_bytes,
        "load_balancing": {
            "selection_policy": {"policy": policy},
            "try_duration": "3s",
            "try_interval": "50ms",
            "retry_match": [{"method": ["GET", "HEAD", "POST"]}],
        },
        "health_checks": {
            "active": {
                "uri": "/v2/health/ready",
                "interval": f"{CHECK_SECONDS * 1000:g}ms",
                "timeout": "2s",
                "expect_status": 200,
            },
            "passive": {"fail_duration": "2s", "max_fails": 1},
        },
        # Idle connections are closed from here, before a server closes them while a request is on its way.
        "transport": {
            "protocol": "http",
            "dial_timeout": "1s",
            "response_header_timeout": f"{limits.request_seconds + 5:g}s",
            "keep_alive": {"idle_timeout": "30s"},
        },
    }
