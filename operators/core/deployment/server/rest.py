"""Inference by REST: a request read within its limits, answered, or refused in the protocol's form of an error."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, HTTPException, Request, Response

from operators.core.deployment.server.batcher import Overloaded
from operators.core.deployment.server.inference import InferenceFailed, NotServed
from operators.core.deployment.server.protocol import BadRequest
from operators.core.deployment.server.refusals import refusal_of
from operators.core.deployment.server.rest_form import HEADER_LENGTH, decode_request, encode_response
from operators.core.deployment.server.schema import INFER
from operators.core.deployment.server.service import Service


class RestInference:
    """The inference routes of one model."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def add_to(self, app: FastAPI) -> None:
        """Have the application answer them."""
        model = f"/v2/models/{self._service.model}"
        app.add_api_route(f"{model}/infer", self.infer, methods=["POST"], openapi_extra=INFER)
        app.add_api_route(f"{model}/versions/{{version}}/infer", self.infer_with, methods=["POST"], openapi_extra=INFER)

    async def infer(self, request: Request) -> Response:
        """Answer with the version that the split chooses."""
        return await self._answer(request, None)

    async def infer_with(self, request: Request, version: str) -> Response:
        """Answer with one version."""
        return await self._answer(request, version)

    async def _answer(self, request: Request, version: str | None) -> Response:
        service, headers = self._service, request.headers
        try:
            # Where there is no room, saying so must cost nearly nothing: nothing is read, let alone parsed.
            service.check_room()
            body = await self._body(request)
            wanted = decode_request(
                body, headers.get(HEADER_LENGTH), headers.get("x-request-id"), service.limits.request_texts
            )
            answered = await service.answer(wanted.infer, version)
        except (BadRequest, NotServed, Overloaded, InferenceFailed) as error:
            refusal = refusal_of(error, is_named=version is not None)
            service.metrics.refused(refusal.reason)
            raise HTTPException(refusal.status, str(error), refusal.headers) from None
        request.state.version, request.state.texts = answered.version, len(wanted.infer.texts)
        content, length = encode_response(service.model, answered.version, wanted, answered.tensors)
        if length is None:
            return Response(content, media_type="application/json")
        return Response(content, media_type="application/octet-stream", headers={HEADER_LENGTH: str(length)})

    async def _body(self, request: Request) -> bytes:
        """Return the body, reading no more and no longer than the limits, whatever `Content-Length` says."""
        limits = self._service.limits
        if request.headers.get("content-encoding", "identity") != "identity":
            raise self._unread("wrong", 415, "compressed requests are not taken: send it as it is")
        body = bytearray()
        try:
            async with asyncio.timeout(limits.body_seconds):
                async for piece in request.stream():
                    body += piece
                    if len(body) > limits.body_bytes:
                        told = f"the body is larger than {limits.body_bytes} bytes: send fewer texts"
                        raise self._unread("too large", 413, told)
        except TimeoutError:
            raise self._unread("too slow", 408, f"the request was not sent within {limits.body_seconds:g} s") from None
        return bytes(body)

    def _unread(self, reason: str, status: int, told: str) -> HTTPException:
        self._service.metrics.refused(reason)
        # What a caller still sends of a body that is not wanted is not waited for.
        return HTTPException(status, told, {"Connection": "close"})
