"""The load balancer: Caddy over the model servers, with a configuration that never changes under traffic.

Which release a request meets is decided in the servers: a change here would close keep-alive connections (7 of 13,488
requests failed over 12 changes). So every place for a server is known from the start, and health checks say which of
them are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from operators.core.deployment.server.limits import Limits
from operators.local.ports import SERVERS, Ports, server_places
from operators.local.tls import LOOPBACK, Tls, bracketed

PATHS = ["/v2", "/v2/", "/v2/models/*", "/v2/health/*"]
"""The inference routes of the Open Inference Protocol; the servers' repository routes and metrics stay inside."""
SHOWN = "balancer"
_TERMINATES_TLS: dict[str, Any] = {
    # Whatever name a caller asked for, or none: there is one certificate, and he decides whether he believes it.
    "tls_connection_policies": [{"certificate_selection": {"any_tag": [SHOWN]}, "protocol_min": "tls1.2"}],
    # No HTTP/3: it would listen on a UDP port that no setting names.
    "protocols": ["h1", "h2"],
}
CHECK_SECONDS = 0.5
"""Between two health checks, and what one may take: a server that hangs is out within twice that. One that is told to
end is not ready for two of them before its port closes."""


def local_configuration(ports: Ports, limits: Limits, tls: Tls | None = None) -> dict[str, Any]:
    """Return the configuration of the one-machine platform: everything on loopback, unless TLS settings say otherwise.

    Args:
        ports: Where all listens, every place for a model server included.
        limits: What a model server takes.
        tls: Who shows which certificate; None for plain HTTP.
    """
    tls = tls or Tls()
    return configuration(
        listen=f"{bracketed(tls.host)}:{ports['balancer']}",
        servers=[f"{LOOPBACK}:{ports[place]}" for place in server_places(ports)],
        limits=limits,
        admin={"listen": f"{LOOPBACK}:{ports['balancer-admin']}", "config": {"persist": False}},
        certificate=(tls.balancer.chain, tls.balancer.key) if tls.balancer else None,
        servers_ca=tls.ca,
    )


def configuration(
    *,
    listen: str,
    servers: Sequence[str],
    limits: Limits,
    admin: dict[str, Any],
    metrics: str | None = None,
    certificate: tuple[str, str] | None = None,
    servers_ca: str | None = None,
) -> dict[str, Any]:
    """Return Caddy's configuration document: one route, health-checked, a failed request tried on another server.

    Args:
        listen: Address that predictions are asked at.
        servers: Addresses of the model servers, of those there may be too.
        limits: What a model server takes.
        admin: Caddy's own `admin` settings: who reaches that address may change all of this.
        metrics: Address that answers Prometheus and nothing else; None for none.
        certificate: Files of the chain that callers are shown and of its key, as Caddy finds them; None for plain HTTP.
        servers_ca: File of the authorities that the servers' certificates are verified with; None where they have none.
    """
    inference = _inference(listen, limits, _proxy(servers, limits, servers_ca))
    apps: dict[str, Any] = {}
    if certificate is not None:
        inference |= _TERMINATES_TLS
        shown = {"certificate": certificate[0], "key": certificate[1], "tags": [SHOWN]}
        apps["tls"] = {"certificates": {"load_files": [shown]}}
    http: dict[str, Any] = {"servers": {"inference": inference}}
    if metrics is not None:
        scrape = {"match": [{"path": ["/metrics"]}], "handle": [{"handler": "metrics"}], "terminal": True}
        http["servers"]["metrics"] = {"listen": [metrics], "automatic_https": {"disable": True}, "routes": [scrape]}
        http["metrics"] = {}
    return {"admin": admin, "logging": {"logs": {"default": {"level": "WARN"}}}, "apps": {"http": http, **apps}}


def _inference(listen: str, limits: Limits, proxy: dict[str, Any]) -> dict[str, Any]:
    routes = [
        {"match": [{"path": PATHS}], "handle": [_limit(limits), proxy], "terminal": True},
        {"handle": [{"handler": "static_response", "status_code": 404, "body": "not served here\n"}]},
    ]
    return {
        "listen": [listen],
        "automatic_https": {"disable": True},
        "read_header_timeout": "10s",
        "read_timeout": f"{limits.body_seconds + 10:g}s",
        "idle_timeout": "2m",
        "routes": routes,
    }


def _limit(limits: Limits) -> dict[str, Any]:
    return {"handler": "request_body", "max_size": limits.body_bytes}


def _proxy(servers: Sequence[str], limits: Limits, ca: str | None) -> dict[str, Any]:
    # Servers that come and go have unlike loads; for a fixed set taking turns is the fairer rule.
    policy = "least_conn" if len(servers) > len(SERVERS) else "round_robin"
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": server} for server in servers],
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
                "timeout": f"{CHECK_SECONDS * 1000:g}ms",
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
            **({"tls": {"ca": {"provider": "file", "pem_files": [ca]}}} if ca else {}),
        },
    }
