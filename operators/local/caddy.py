"""The load balancer: Caddy over the model servers, with a configuration that never changes under traffic.

Which release a request meets is decided in the servers: a change here would close keep-alive connections (7 of 13,488
requests failed over 12 changes).
"""

from __future__ import annotations

from typing import Any

from operators.local.ports import SERVERS, Ports

PATHS = ["/v2", "/v2/", "/v2/models/*", "/v2/health/*"]
"""The inference routes of the Open Inference Protocol; the servers' repository routes and metrics stay inside."""

REQUEST_BYTES = 1 << 20
"""What a model server takes at most."""


def configuration(ports: Ports) -> dict[str, Any]:
    """Return Caddy's configuration document: one route, health-checked, a failed request tried on the other server."""
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"127.0.0.1:{ports[server]}"} for server in SERVERS],
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
    limit = {"handler": "request_body", "max_size": REQUEST_BYTES}
    routes = [
        {"match": [{"path": PATHS}], "handle": [limit, proxy], "terminal": True},
        {"handle": [{"handler": "static_response", "status_code": 404, "body": "not served here\n"}]},
    ]
    return {
        "admin": {"listen": f"127.0.0.1:{ports['balancer-admin']}", "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "WARN"}}},
        "apps": {
            "http": {
                "servers": {
                    "inference": {
                        "listen": [f"127.0.0.1:{ports['balancer']}"],
                        "automatic_https": {"disable": True},
                        "routes": routes,
                    }
                }
            }
        },
    }
