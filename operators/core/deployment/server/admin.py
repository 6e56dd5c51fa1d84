"""Repository routes: what a controller does to a server. Bearer token only, and never through a balancer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Collection
from dataclasses import asdict
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request

from operators.core.deployment.server import repository
from operators.core.deployment.server.access import Access
from operators.core.deployment.server.service import Service

T = TypeVar("T")


class Repository:
    """The routes under `/v2/repository` for one model."""

    def __init__(self, service: Service, access: Access) -> None:
        self._service, self._versions, self._access = service, service.versions, access

    def routes(self) -> APIRouter:
        """Return the routes, guarded as one."""
        router = APIRouter(prefix="/v2/repository", dependencies=[Depends(self._guard)])
        model = f"/models/{self._service.model}"
        router.add_api_route("/index", self.index, methods=["POST"])
        router.add_api_route(f"{model}/load", self.load_model, methods=["POST"])
        router.add_api_route(f"{model}/unload", self.unload_model, methods=["POST"])
        router.add_api_route(f"{model}/traffic", self.traffic, methods=["GET"])
        router.add_api_route(f"{model}/traffic", self.switch, methods=["POST"])
        router.add_api_route(f"{model}/versions/{{version}}/load", self.load, methods=["POST"])
        router.add_api_route(f"{model}/versions/{{version}}/unload", self.unload, methods=["POST"])
        return router

    async def _guard(self, request: Request) -> None:
        if refusal := self._access.refusal(request.headers):
            status, why = refusal
            raise HTTPException(status, why, {"WWW-Authenticate": "Bearer"} if status == 401 else None)

    async def index(self, request: Request) -> list[dict[str, str]]:
        """Return one line a version, resident or refused; `ready` in the body leaves the refused out."""
        document = _object(await request.body() or b"{}")
        return self._service.index(only_ready=document.get("ready") is True)

    async def load_model(self, request: Request) -> dict[str, Any]:
        """Load the version that the parameter `config` names, as clients of the protocol do."""
        parameters = _object(await request.body()).get("parameters") or {}
        version, release = await _told(_parsed(parameters))
        return {"version": version, "loaded": await _told(repository.load(self._versions, version, release))}

    async def unload_model(self) -> dict[str, Any]:
        """Unload every version that answers no requests."""
        return {"unloaded": await _told(repository.unload_idle(self._versions))}

    async def traffic(self) -> dict[str, Any]:
        """Return what is served."""
        return asdict(self._versions.traffic)

    async def switch(self, request: Request) -> dict[str, Any]:
        """Serve this from the next request on."""
        needed, more = {"current", "former", "candidate", "share"}, {"is_shadow", "order", "by_hand"}
        wanted = _exactly(await request.body(), needed, more)
        try:
            return asdict(await asyncio.to_thread(self._versions.switch, **wanted))
        except (KeyError, TypeError, ValueError) as error:
            raise HTTPException(409, str(error)) from None

    async def load(self, request: Request, version: str) -> dict[str, Any]:
        """Load a version by the digest of its release."""
        release = _exactly(await request.body(), {"release"})["release"]
        return {"version": version, "loaded": await _told(repository.load(self._versions, version, release))}

    async def unload(self, version: str) -> dict[str, Any]:
        """Unload a version."""
        return {"version": version, "unloaded": await _told(repository.unload(self._versions, version))}


async def _parsed(parameters: dict[str, Any]) -> tuple[str, str]:
    return repository.load_parameters(parameters)


async def _told(done: Awaitable[T]) -> T:
    try:
        return await done
    except repository.Refused as refused:
        raise HTTPException(refused.status, str(refused)) from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        raise HTTPException(400, "the body is no JSON") from None
    if not isinstance(document, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return document


def _exactly(body: bytes, keys: set[str], more: Collection[str] = ()) -> dict[str, Any]:
    document = _object(body)
    if set(document) - set(more) != keys:
        also = f", and may have {sorted(more)}" if more else ""
        raise HTTPException(400, f"the body must be an object with exactly {sorted(keys)}{also}")
    return document
