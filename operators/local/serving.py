"""How the model servers of the one-machine platform are set up: by its credentials and by a file of the operator's.

`secrets/serving.json` may hold `trusted`, `api_keys`, `limits`, `tls_certificate` and `tls_key` as `ServerSettings` has
them, `tls_ca`, which vouches for the servers' certificate, and of the `balancer` its `host`, `tls_certificate` and
`tls_key`. Without it whoever reaches the balancer, on loopback, is answered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from operators.core.deployment.server.limits import Limits
from operators.core.deployment.server.settings import ServerSettings
from operators.core.settings import ServingSettings
from operators.core.signing import Signer
from operators.local.credentials import Credentials
from operators.local.layout import Layout, PlatformError
from operators.local.ports import SERVERS, Ports
from operators.local.tls import Tls

OWN_NAME = "platform"
"""Caller's name of the platform itself, which asks for the predictions that a run shows."""
FIELDS = {"trusted", "api_keys", "limits", "tls_certificate", "tls_key", "tls_ca", "balancer"}


def server_settings(layout: Layout, credentials: Credentials) -> ServerSettings:
    """Return the settings of every server: its gate's key is trusted, beside those that the operator lists.

    Raises:
        PlatformError: The operator's file cannot be read, or says what cannot be.
    """
    with _operator_s_file(layout) as wanted:
        own = Signer(bytes.fromhex(credentials.signing_key)).public_key
        keys = dict(wanted.get("api_keys", {}))
        return ServerSettings(
            trusted=tuple(dict.fromkeys([own, *wanted.get("trusted", ())])),
            api_keys={**keys, OWN_NAME: digest_of(own_key(credentials))} if keys else {},
            tls_certificate=wanted.get("tls_certificate"),
            tls_key=wanted.get("tls_key"),
            limits=Limits(**wanted.get("limits", {})),
        )


def tls_settings(layout: Layout) -> Tls:
    """Return which certificates balancer and servers show, none of them by default.

    Raises:
        PlatformError: The operator's file cannot be read, or says one half of something.
    """
    with _operator_s_file(layout) as wanted:
        return Tls.read(wanted)


def checked_tls(layout: Layout) -> Tls:
    """Return the same, tried.

    Raises:
        PlatformError: The files cannot be used as they are meant; the message says which, and why.
    """
    with _operator_s_file(layout) as wanted:
        tls = Tls.read(wanted)
        tls.check()
        return tls


def serving_settings(layout: Layout, ports: Ports, credentials: Credentials) -> ServingSettings:
    """Return where the servers are, and how the platform itself speaks to them.

    Raises:
        PlatformError: The operator's file cannot be read, or says what cannot be; the message says what.
    """
    tls = tls_settings(layout)
    return ServingSettings(
        servers=tuple(tls.server_url(ports[name]) for name in SERVERS),
        balancer_url=tls.balancer_url(ports["balancer"]),
        token=credentials.serving_token,
        ca_file=tls.ca,
    )


@contextmanager
def _operator_s_file(layout: Layout) -> Iterator[dict[str, Any]]:
    """Give what the operator's file holds; what the block finds wrong with it is told by the file's name."""
    path = operator_file(layout)
    try:
        wanted: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        if unknown := sorted(set(wanted) - FIELDS):
            raise ValueError(f"{unknown} are unknown: it may hold {sorted(FIELDS)}")
        yield wanted
    except (TypeError, AttributeError, ValueError, OSError) as error:
        raise PlatformError(f"{path} cannot be used: {error}") from None


def operator_file(layout: Layout) -> Path:
    """Return where the operator says whom the servers answer, and by which certificates."""
    return layout.secrets / "serving.json"


def own_key(credentials: Credentials) -> str:
    """Return the API key that the platform asks its own servers with."""
    return hashlib.sha256(f"predictions {credentials.serving_token}".encode()).hexdigest()


def digest_of(api_key: str) -> str:
    """Return what settings hold of an API key. It is random and long, so one round of SHA-256 hides it."""
    return hashlib.sha256(api_key.encode()).hexdigest()
