"""The web application: routes of the protocol, health and metrics, over one `Versions`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from operators.core.deployment.server.admin import Repository
from operators.core.deployment.server.batcher import Batcher
from operators.core.deployment.server.inference import Inference
from operators.core.deployment.server.limits import Limits
from operators.core.deployment.server.metrics import ServerMetrics
from operators.core.deployment.server.protocol import model_metadata
from operators.core.deployment.server.rest import RestInference
from operators.core.deployment.server.versions import Versions

PROTOCOL_VERSION = "2.0"


def build_app(*, name: str, model: str, versions: Versions, token: str, limits: Limits) -> FastAPI:
    """Return the application of one server. While its `state.is_draining` is set it calls itself not ready.

    Args:
        name: What this server calls itself.
        model: The model it answers for, the recipe's name.
        versions: Restored in the background once the server listens: it is live at once and ready when that is done.
        token: Bearer token of the repository routes.
        limits: What it takes.
    """
    metrics = ServerMetrics(model, versions)
    batcher = Batcher(limits, metrics)
    inference = Inference(versions, metrics, batcher, limits.request_seconds)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        restoring = asyncio.create_task(asyncio.to_thread(versions.restore))
        batcher.open()
        yield
        await restoring
        await asyncio.to_thread(batcher.close)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.is_draining = False
    app.add_exception_handler(StarletteHTTPException, _error)
    app.include_router(Repository(model, versions, token).routes())
    _add_health(app, name, versions, metrics)
    _add_model(app, model, versions)
    RestInference(model, inference, batcher, metrics, limits).add_to(app)
    return app


def _add_health(app: FastAPI, name: str, versions: Versions, metrics: ServerMetrics) -> None:
    async def server() -> dict[str, Any]:
        return {"name": name, "version": PROTOCOL_VERSION, "extensions": ["model_repository"]}

    async def live() -> dict[str, Any]:
        return {"live": True}

    async def ready() -> JSONResponse:
        is_ready = versions.traffic.current is not None and not app.state.is_draining
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    async def scrape() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app.add_api_route("/v2", server)
    app.add_api_route("/v2/health/live", live)
    app.add_api_route("/v2/health/ready", ready)
    app.add_api_route("/metrics", scrape)


def _add_model(app: FastAPI, model: str, versions: Versions) -> None:
    async def metadata(version: str | None = None) -> dict[str, Any]:
        resident = versions.get(version or versions.traffic.current)
        if version and resident is None:
            raise HTTPException(404, f"version {version} of {model} is not loaded")
        names = [version] if version else sorted(versions.traffic.releases)
        return model_metadata(model, names, resident.classifier.card if resident else None)

    async def ready(version: str | None = None) -> JSONResponse:
        is_ready = versions.get(version or versions.traffic.current) is not None
        return JSONResponse({"name": model, "ready": is_ready}, 200 if is_ready else 503)

    for path in (f"/v2/models/{model}", f"/v2/models/{model}/versions/{{version}}"):
        app.add_api_route(path, metadata)
        app.add_api_route(path + "/ready", ready)


async def _error(_: Request, error: Exception) -> JSONResponse:
    """Answer in the protocol's form of an error."""
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
