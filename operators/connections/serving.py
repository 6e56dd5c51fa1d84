"""Where the model servers and their balancer are."""

from __future__ import annotations

from airflow.sdk import Connection

from operators.connections.fields import extra_of
from operators.core.settings import ServingSettings

SERVING = "nightshift_serving"


def serving_settings() -> ServingSettings:
    """Return where the model servers are and how to speak to them."""
    connection = Connection.get(SERVING)
    if not connection.password:
        raise ValueError(f"connection {SERVING} has no password: it must hold the servers' bearer token")
    return ServingSettings(
        servers=tuple(extra_of(SERVING, "servers")),
        balancer_url=extra_of(SERVING, "balancer"),
        token=connection.password,
        ca_file=connection.extra_dejson.get("ca_file"),
    )
