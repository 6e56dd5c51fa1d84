"""Where the serving side speaks TLS: the balancer to callers, the servers to the balancer and to controllers.

By default nowhere, for everything listens on loopback. What the operator's files say is tried before anything starts:
a handshake in memory proves that key, certificate and authority fit, which Caddy would only log, request by request.
Who only looks or goes back does not try them: a certificate that has run out must not stand in the way of a rollback.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.core.pinning import pinned

LOOPBACK = "127.0.0.1"
"""Where the servers of this platform listen, and so what their certificate must name."""
BALANCER_FIELDS = {"host", "tls_certificate", "tls_key"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """A certificate with what leads to its authority, and its private key: two files in PEM that belong together."""

    chain: str
    key: str

    def check(self) -> None:
        """Return if both can be read and belong together.

        Raises:
            ValueError: They do not; the message names both.
        """
        for name, path in (("tls_certificate", self.chain), ("tls_key", self.key)):
            _check_file(name, path)
        self._shown_by_a_server()

    def check_vouched_for(self, ca: str, host: str) -> None:
        """Return if who trusts this authority believes the certificate when he asks `host`.

        Raises:
            ValueError: He does not; the message says why.
        """
        _check_file("tls_ca", ca)
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            client = ssl.create_default_context(cafile=ca)
            ends = (
                client.wrap_bio(to_client, to_server, server_hostname=host),
                self._shown_by_a_server().wrap_bio(to_server, to_client, server_side=True),
            )
            for _ in range(2):
                for end in ends:
                    _step(end)
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", "") or error.reason or error
            raise ValueError(
                f"tls_ca={ca} does not vouch for tls_certificate={self.chain} at {host} ({why}): the servers' "
                f"certificate must name {host} and be issued by that authority"
            ) from None

    def pinned(self) -> ssl.SSLContext:
        """Return what believes this very certificate and no other, whatever it is asked as."""
        return pinned(Path(self.chain).read_text())

    def _shown_by_a_server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # Without a password of ours OpenSSL would ask for one at the terminal.
            context.load_cert_chain(self.chain, self.key, password=lambda: "")
        except ssl.SSLError as error:
            raise ValueError(
                f"tls_certificate={self.chain} with tls_key={self.key} cannot be used ({error.reason or error}): "
                "give a chain in PEM and its own private key, without a password"
            ) from None
        return context


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """Who shows which certificate; without any, plain HTTP on loopback."""

    host: str = LOOPBACK
    """Address that the balancer listens at."""
    balancer: Certificate | None = None
    servers: Certificate | None = None
    ca: str | None = None
    """File of the authorities, in PEM, that the servers' certificate is verified with."""

    def __post_init__(self) -> None:
        if not ipaddress.ip_address(self.host).is_loopback and self.balancer is None:
            raise ValueError(
                f"balancer: host={self.host} is reached from elsewhere, so it needs tls_certificate and tls_key; "
                f"without them it listens at {LOOPBACK}"
            )
        if (self.servers is None) != (self.ca is None):
            raise ValueError(
                "tls_certificate and tls_key of the servers need tls_ca, and it needs them: who asks a server must "
                "know what to verify it with"
            )

    def check(self) -> None:
        """Return if the files can be used as they are meant, today.

        Raises:
            ValueError: They cannot; the message says which, and why.
        """
        for certificate in filter(None, (self.balancer, self.servers)):
            certificate.check()
        if self.servers is not None and self.ca is not None:
            self.servers.check_vouched_for(self.ca, LOOPBACK)

    @classmethod
    def read(cls, wanted: Mapping[str, Any]) -> Tls:
        """Return what an operator's file says.

        Raises:
            ValueError: It says one half of something.
        """
        balancer = wanted.get("balancer", {})
        if unknown := sorted(set(balancer) - BALANCER_FIELDS):
            raise ValueError(f"balancer: {unknown} are unknown: it may hold {sorted(BALANCER_FIELDS)}")
        return cls(
            host=balancer.get("host", LOOPBACK),
            balancer=_certificate("balancer: ", balancer),
            servers=_certificate("", wanted),
            ca=wanted.get("tls_ca"),
        )

    def server_url(self, port: int) -> str:
        """Return the base address of a model server of this machine."""
        return f"{'https' if self.servers else 'http'}://{LOOPBACK}:{port}"

    def balancer_url(self, port: int) -> str:
        """Return the address that predictions are asked from on this machine."""
        host = ipaddress.ip_address(LOOPBACK if ipaddress.ip_address(self.host).is_unspecified else self.host)
        return f"{'https' if self.balancer else 'http'}://{bracketed(str(host))}:{port}"


def bracketed(host: str) -> str:
    """Return an address as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def _certificate(where: str, wanted: Mapping[str, Any]) -> Certificate | None:
    chain, key = wanted.get("tls_certificate"), wanted.get("tls_key")
    if (chain is None) != (key is None):
        raise ValueError(f"{where}tls_certificate and tls_key: give both files, or neither")
    return None if chain is None else Certificate(chain=chain, key=str(key))


def _check_file(name: str, path: str) -> None:
    if not Path(path).is_absolute() or not Path(path).is_file():
        raise ValueError(f"{name}={path}: there is no such file; give an absolute path, in PEM")


def _step(end: ssl.SSLObject) -> None:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return
