"""Inference by REST: a request read within its limits, answered, or refused in the protocol's form of an error.

An ASGI application in front of the framework's, whose routing, middleware and objects took a sixth of a server's
processor time (int8 MiniLM, texts of Banking77); and a refusal must cost nearly nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from operators.core.deployment.server.batcher import Overloaded
from operators.core.deployment.server.inference import InferenceFailed, NotServed
from operators.core.deployment.server.protocol import BadRequest
from operators.core.deployment.server.refusals import Refusal, refusal_of
from operators.core.deployment.server.rest_form import HEADER_LENGTH, decode_request, encode_response
from operators.core.deployment.server.service import Service


class Unread(Exception):
    """What a caller sends is not wanted, and not waited for: the connection is closed behind the answer."""

    def __init__(self, reason: str, status: int, told: str) -> None:
        super().__init__(reason, status, told)
        self.refusal, self.told = Refusal(reason=reason, status=status, code=""), told


class RestInference:
    """The inference routes of one model; whatever else is asked goes on to another application."""

    def __init__(self, service: Service, others: ASGIApp) -> None:
        self._service, self._others = service, others
        self._path = re.compile(rf"/v2/models/{re.escape(service.model)}(?:/versions/([^/]+))?/infer")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the version that the path names, or else the one that the split chooses."""
        asked = self._path.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if asked is None:
            await self._others(scope, receive, send)
            return
        if scope["method"] != "POST":
            await _send_error(send, 405, "an inference is asked for by POST", {"Allow": "POST"})
            return
        version: str | None = asked.group(1)
        try:
            content, length = await self._answer(scope, receive, version)
        except Unread as unread:
            self._service.metrics.refused(unread.refusal.reason)
            await _send_error(send, unread.refusal.status, unread.told, {"Connection": "close"})
        except (BadRequest, NotServed, Overloaded, InferenceFailed) as error:
            refusal = refusal_of(error, is_named=version is not None)
            self._service.metrics.refused(refusal.reason)
            await _send_error(send, refusal.status, str(error), refusal.headers or {})
        else:
            kind = {"Content-Type": "application/json"}
            if length is not None:
                kind = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(length)}
            await _send(send, 200, content, kind)

    async def _answer(self, scope: Scope, receive: Receive, version: str | None) -> tuple[bytes, int | None]:
        service, state = self._service, scope["state"]
        headers = state["headers"]
        # Where there is no room, saying so must cost nearly nothing: nothing is read, let alone parsed.
        service.check_room()
        body = await self._body(receive, headers)
        given_id = headers.get("x-request-id") or state["request_id"]
        wanted = decode_request(body, headers.get(HEADER_LENGTH.lower()), given_id, service.limits.request_texts)
        answered = await service.answer(wanted.infer, version)
        state["version"], state["texts"] = answered.version, len(wanted.infer.texts)
        return encode_response(service.model, answered.version, wanted, answered.tensors)

    async def _body(self, receive: Receive, headers: Mapping[str, str]) -> bytes:
        """Return the body, reading no more and no longer than the limits, whatever `Content-Length` says."""
        limits = self._service.limits
        if headers.get("content-encoding", "identity") != "identity":
            raise Unread("wrong", 415, "compressed requests are not taken: send it as it is")
        body, is_whole = bytearray(), False
        try:
            async with asyncio.timeout(limits.body_seconds):
                while not is_whole:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Unread("wrong", 400, "the caller hung up before the request was whole")
                    body += message.get("body", b"")
                    is_whole = not message.get("more_body", False)
                    if len(body) > limits.body_bytes:
                        told = f"the body is larger than {limits.body_bytes} bytes: send fewer texts"
                        raise Unread("too large", 413, told)
        except TimeoutError:
            raise Unread("too slow", 408, f"the request was not sent within {limits.body_seconds:g} s") from None
        return bytes(body)


async def _send_error(send: Send, status: int, told: str, headers: Mapping[str, str]) -> None:
    await _send(send, status, json.dumps({"error": told}).encode(), {"Content-Type": "application/json", **headers})


async def _send(send: Send, status: int, content: bytes, headers: Mapping[str, str]) -> None:
    listed = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    listed.append((b"content-length", b"%d" % len(content)))
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": content})
