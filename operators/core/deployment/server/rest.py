"""Inference by REST: a request read within its limits, answered, or refused in the protocol's form of an error."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from operators.core.deployment.server.batcher import Batcher, Overloaded, QueueFull
from operators.core.deployment.server.inference import Inference, InferenceFailed, NotServed
from operators.core.deployment.server.limits import Limits
from operators.core.deployment.server.metrics import ServerMetrics
from operators.core.deployment.server.protocol import BadRequest, decode_request, encode_response


class RestInference:
    """The inference routes of one model."""

    def __init__(
        self, model: str, inference: Inference, batcher: Batcher, metrics: ServerMetrics, limits: Limits
    ) -> None:
        self._model, self._inference, self._batcher, self._metrics = model, inference, batcher, metrics
        self._limits = limits

    def add_to(self, app: FastAPI) -> None:
        """Have the application answer them."""
        for path in (f"/v2/models/{self._model}/infer", f"/v2/models/{self._model}/versions/{{version}}/infer"):
            app.add_api_route(path, self._infer, methods=["POST"])

    async def _infer(self, request: Request, version: str | None = None) -> JSONResponse:
        """Answer, or count why not."""
        try:
            # Where there is no room, saying so must cost nearly nothing: nothing is read, let alone parsed.
            self._batcher.check_room()
            wanted = decode_request(await self._body(request), self._limits.request_texts)
            resident, answers = await self._inference.answer(wanted, version)
            document = encode_response(self._model, resident.version, wanted, resident.classifier.card, answers)
            return JSONResponse(document)
        except BadRequest as error:
            raise self._refusal("wrong", 400, error) from None
        except NotServed as error:
            raise self._refusal("not served", 404 if version else 503, error) from None
        except QueueFull as error:
            raise self._refusal("no room", 429, error) from None
        except Overloaded as error:
            raise self._refusal("too late", 503, error) from None
        except InferenceFailed as error:
            raise HTTPException(500, str(error)) from None

    async def _body(self, request: Request) -> bytes:
        """Return the body, reading no more and no longer than the limits, whatever `Content-Length` says."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise self._refusal("wrong", 415, "compressed requests are not taken: send it as it is")
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for piece in request.stream():
                    body += piece
                    if len(body) > self._limits.body_bytes:
                        limit = self._limits.body_bytes
                        raise self._refusal(
                            "too large", 413, f"the body is larger than {limit} bytes: send fewer texts"
                        )
        except TimeoutError:
            seconds = self._limits.body_seconds
            raise self._refusal("too slow", 408, f"the request was not sent within {seconds:g} s") from None
        return bytes(body)

    def _refusal(self, reason: str, status: int, error: Exception | str) -> HTTPException:
        self._metrics.refused(reason)
        headers = {"Retry-After": str(error.retry_seconds)} if isinstance(error, Overloaded) else None
        if status == 503 and headers is None:
            headers = {"Retry-After": "1"}
        # What a caller still sends of a body that is not wanted is not waited for.
        if status in (408, 413):
            headers = {"Connection": "close"}
        return HTTPException(status, str(error), headers)
