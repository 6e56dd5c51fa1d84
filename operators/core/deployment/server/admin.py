"""Repository routes: what a controller does to a server. Bearer token only, and never through a balancer."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request

from operators.core.deployment.server.versions import Versions
from operators.core.errors import NightshiftError
from operators.core.manifest import DIGEST_PATTERN

VERSION_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FORWARDING = ("forwarded", "x-forwarded-for", "via")
"""Headers that a balancer adds: what carries one did not come from a controller."""


class Repository:
    """The routes under `/v2/repository` for one model."""

    def __init__(self, model: str, versions: Versions, token: str) -> None:
        self._model, self._versions = model, versions
        self._expected = f"Bearer {token}".encode()

    def routes(self) -> APIRouter:
        """Return the routes, guarded as one."""
        router = APIRouter(prefix="/v2/repository", dependencies=[Depends(self._guard)])
        model = f"/models/{self._model}"
        router.add_api_route("/index", self._index, methods=["GET", "POST"])
        router.add_api_route(f"{model}/traffic", self._traffic, methods=["GET"])
        router.add_api_route(f"{model}/traffic", self._switch, methods=["POST"])
        router.add_api_route(f"{model}/versions/{{version}}/load", self._load, methods=["POST"])
        router.add_api_route(f"{model}/versions/{{version}}/unload", self._unload, methods=["POST"])
        return router

    async def _guard(self, request: Request) -> None:
        if any(name in request.headers for name in FORWARDING):
            raise HTTPException(403, "repository routes are for a controller that reaches this server directly")
        if not secrets.compare_digest(request.headers.get("authorization", "").encode(), self._expected):
            raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})

    async def _index(self) -> list[dict[str, Any]]:
        """Return one line a version, resident or refused, as the protocol's repository extension has them."""
        states = [(version, "READY", "") for version in self._versions.traffic.releases]
        states += [(version, "UNAVAILABLE", why) for version, why in self._versions.refusals.items()]
        return [{"name": self._model, "version": one, "state": state, "reason": why} for one, state, why in states]

    async def _traffic(self) -> dict[str, Any]:
        return asdict(self._versions.traffic)

    async def _switch(self, request: Request) -> dict[str, Any]:
        wanted = await _body(request, {"current", "former", "candidate", "share"}, {"is_shadow", "order", "by_hand"})
        try:
            return asdict(await asyncio.to_thread(self._versions.switch, **wanted))
        except (KeyError, TypeError, ValueError) as error:
            raise HTTPException(409, str(error)) from None

    async def _load(self, request: Request, version: str) -> dict[str, Any]:
        digest = (await _body(request, {"release"}))["release"]
        if not VERSION_PATTERN.fullmatch(version) or not DIGEST_PATTERN.fullmatch(str(digest)):
            raise HTTPException(400, f"version {version!r} or release {digest!r} is not well-formed")
        try:
            return {"version": version, "loaded": await asyncio.to_thread(self._versions.load, version, digest)}
        except NightshiftError as error:
            raise HTTPException(503 if error.retry_can_help else 422, str(error)) from None
        except (OSError, ValueError) as error:
            raise HTTPException(503, f"version {version} cannot be fetched here: {error}") from None

    async def _unload(self, version: str) -> dict[str, Any]:
        try:
            return {"version": version, "unloaded": await asyncio.to_thread(self._versions.unload, version)}
        except NightshiftError as error:
            raise HTTPException(409, str(error)) from None


async def _body(request: Request, keys: set[str], more: Collection[str] = ()) -> dict[str, Any]:
    try:
        document = json.loads(await request.body())
    except ValueError:
        raise HTTPException(400, "the body is no JSON") from None
    if not isinstance(document, dict) or set(document) - set(more) != keys:
        also = f", and may have {sorted(more)}" if more else ""
        raise HTTPException(400, f"the body must be an object with exactly {sorted(keys)}{also}")
    return document
