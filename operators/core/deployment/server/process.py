"""The process of a server, and how it ends: not ready first, then no new connections, then what is under way."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import uvicorn

from operators.core.deployment.server.access import Access
from operators.core.deployment.server.app import build_app
from operators.core.deployment.server.service import Service
from operators.core.deployment.server.settings import ServerSettings

if TYPE_CHECKING:
    from operators.core.deployment.server.grpc_server import GrpcServer

IDLE_SECONDS = 75
"""How long an idle connection is kept: longer than a balancer keeps it, so that the balancer is who closes it."""


class ServerProcess(uvicorn.Server):
    """Serves until SIGTERM; then lets the balancer see that it goes, and answers what came until it did."""

    def __init__(
        self, service: Service, settings: ServerSettings, token: str, *, host: str, port: int, grpc_port: int | None
    ) -> None:
        """Listen on nothing yet; without a gRPC port by REST alone."""
        access = Access(settings.api_keys, token)
        config = uvicorn.Config(
            build_app(service, access), host=host, port=port, access_log=False, log_config=None, server_header=False,
            proxy_headers=False,  # who asks is told by keys, not by addresses
            limit_concurrency=settings.limits.connections, timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=max(1, round(settings.limits.drain_seconds)),
            ssl_certfile=settings.tls_certificate, ssl_keyfile=settings.tls_key,
        )  # fmt: skip
        super().__init__(config)
        self._service, self._settings, self._access = service, settings, access
        self._grpc_address = f"{host}:{grpc_port}" if grpc_port else None
        self._grpc: GrpcServer | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on both ports."""
        await super().startup(sockets)
        if self._grpc_address is not None:
            from operators.core.deployment.server.grpc_server import GrpcServer

            self._grpc = GrpcServer(self._service, self._access)
            await self._grpc.start(self._grpc_address, self._settings.certificate)

    async def main_loop(self) -> None:
        """Serve; return when no new connection shall be taken."""
        await super().main_loop()
        self._service.is_draining = True
        until = time.monotonic() + self._settings.limits.unready_seconds
        while time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(0.05)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End when what is under way has been answered, on both ports."""
        if self._grpc is not None:
            await self._grpc.stop(self._settings.limits.drain_seconds)
        await super().shutdown(sockets)
