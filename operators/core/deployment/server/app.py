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
from operators.core.deployment.server.inference import Inference, InferenceFailed, NotServed
from operators.core.deployment.server.metrics import ServerMetrics
from operators.core.deployment.server.protocol import (
    MAX_BODY_BYTES,
    BadRequest,
    decode_request,
    encode_response,
    model_metadata,
)
from operators.core.deployment.server.versions import Versions

PROTOCOL_VERSION = "2.0"


def build_app(*, name: str, model: str, versions: Versions, token: str, parallel: int) -> FastAPI:
    """Return the application of one server.

    Args:
        name: What this server calls itself.
        model: The model it answers for, the recipe's name.
        versions: Restored in the background once the server listens: it is live at once and ready when that is done.
        token: Bearer token of the repository routes.
        parallel: Inferences that run beside each other.
    """
    metrics = ServerMetrics(model, versions)
    inference = Inference(versions, metrics, parallel)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        restoring = asyncio.create_task(asyncio.to_thread(versions.restore))
        yield
        await restoring

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(StarletteHTTPException, _error)
    app.include_router(Repository(model, versions, token).routes())
    _add_health(app, name, versions, metrics)
    _add_model(app, model, versions)
    _add_inference(app, model, inference, metrics)
    return app


def _add_health(app: FastAPI, name: str, versions: Versions, metrics: ServerMetrics) -> None:
    async def server() -> dict[str, Any]:
        return {"name": name, "version": PROTOCOL_VERSION, "extensions": ["model_repository"]}

    async def live() -> dict[str, Any]:
        return {"live": True}

    async def ready() -> JSONResponse:
        is_ready = versions.traffic.current is not None
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


def _add_inference(app: FastAPI, model: str, inference: Inference, metrics: ServerMetrics) -> None:
    async def infer(request: Request, version: str | None = None) -> JSONResponse:
        try:
            wanted = decode_request(await _limited_body(request))
            resident, answers = await inference.answer(wanted, version)
            return JSONResponse(encode_response(model, resident.version, wanted, resident.classifier.card, answers))
        except BadRequest as error:
            metrics.refused()
            raise HTTPException(400, str(error)) from None
        except NotServed as error:
            raise HTTPException(404 if version else 503, str(error)) from None
        except InferenceFailed as error:
            raise HTTPException(500, str(error)) from None

    for path in (f"/v2/models/{model}/infer", f"/v2/models/{model}/versions/{{version}}/infer"):
        app.add_api_route(path, infer, methods=["POST"])


async def _limited_body(request: Request) -> bytes:
    """Return the body, reading no more than the limit, whatever `Content-Length` says."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"the body is larger than {MAX_BODY_BYTES} bytes: send fewer texts")
    return bytes(body)


async def _error(_: Request, error: Exception) -> JSONResponse:
    """Answer in the protocol's form of an error."""
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
