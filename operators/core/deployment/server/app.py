"""The web application: the protocol's REST form, health, metrics and its own description, over one `Service`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp

from operators.core.deployment.server.access import Access
from operators.core.deployment.server.admin import Repository
from operators.core.deployment.server.frame import Frame
from operators.core.deployment.server.inference import NotServed
from operators.core.deployment.server.protocol import VERSION
from operators.core.deployment.server.rest import RestInference
from operators.core.deployment.server.schema import infer_paths
from operators.core.deployment.server.service import Service


def build_app(service: Service, access: Access) -> ASGIApp:
    """Return the application of one server; it opens the service and closes it."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.open()
        yield
        await service.close()

    app = _App(title=f"Nightshift: {service.model}", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.inference_paths = infer_paths(service.model)
    app.add_exception_handler(StarletteHTTPException, _error)
    app.include_router(Repository(service, access).routes())
    _add_health(app, service)
    _add_model(app, service)
    return Frame(RestInference(service, app), access)


class _App(FastAPI):
    """All routes but inference, and the description of all."""

    inference_paths: Mapping[str, Any]

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        return {**document, "paths": {**self.inference_paths, **document["paths"]}}


def _add_health(app: FastAPI, service: Service) -> None:
    async def server() -> dict[str, Any]:
        return service.metadata()

    async def live() -> dict[str, bool]:
        return {"live": True}

    async def ready() -> JSONResponse:
        return JSONResponse({"ready": service.is_ready}, 200 if service.is_ready else 503)

    async def scrape() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app.add_api_route("/v2", server)
    app.add_api_route("/v2/health/live", live)
    app.add_api_route("/v2/health/ready", ready)
    app.add_api_route("/metrics", scrape)


def _add_model(app: FastAPI, service: Service) -> None:
    def metadata_of(version: str | None) -> dict[str, Any]:
        try:
            return service.model_metadata(version)
        except NotServed as error:
            raise HTTPException(404, str(error)) from None

    def ready_of(version: str | None) -> JSONResponse:
        is_ready = service.has(version)
        return JSONResponse({"name": service.model, "ready": is_ready}, 200 if is_ready else 503)

    async def model() -> dict[str, Any]:
        return metadata_of(None)

    async def model_version(version: str) -> dict[str, Any]:
        return metadata_of(version)

    async def model_ready() -> JSONResponse:
        return ready_of(None)

    async def model_version_ready(version: str) -> JSONResponse:
        return ready_of(version)

    path = f"/v2/models/{service.model}"
    app.add_api_route(path, model)
    app.add_api_route(path + "/ready", model_ready)
    app.add_api_route(path + "/versions/{version}", model_version)
    app.add_api_route(path + "/versions/{version}/ready", model_version_ready)


async def _error(_: Request, error: Exception) -> JSONResponse:
    """Answer in the protocol's form of an error."""
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
