"""The process of a server, and how it ends: not ready first, then no new connections, then what is under way."""

from __future__ import annotations

import asyncio
import time

import uvicorn
from fastapi import FastAPI

from operators.core.deployment.server.limits import Limits

IDLE_SECONDS = 75
"""How long an idle connection is kept: longer than a balancer keeps it, so that the balancer is who closes it."""


class ServerProcess(uvicorn.Server):
    """Serves until SIGTERM; then lets the balancer see that it goes, and answers what came until it did."""

    def __init__(self, app: FastAPI, host: str, port: int, limits: Limits) -> None:
        """Listen on nothing yet."""
        config = uvicorn.Config(
            app, host=host, port=port, access_log=False, log_config=None, server_header=False,
            limit_concurrency=limits.connections, timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=max(1, round(limits.drain_seconds)),
        )  # fmt: skip
        super().__init__(config)
        self._app, self._unready_seconds = app, limits.unready_seconds

    async def main_loop(self) -> None:
        """Serve; return when no new connection shall be taken."""
        await super().main_loop()
        self._app.state.is_draining = True
        until = time.monotonic() + self._unready_seconds
        while time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(0.05)
