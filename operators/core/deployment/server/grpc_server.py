"""The protocol's gRPC service, over one `Service`, in the event loop that also answers REST."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc

from operators.core.deployment.server import repository
from operators.core.deployment.server.access import Access
from operators.core.deployment.server.batcher import Overloaded
from operators.core.deployment.server.grpc_form import decode_request, encode_response
from operators.core.deployment.server.inference import InferenceFailed, NotServed
from operators.core.deployment.server.logs import log_request, usable_id
from operators.core.deployment.server.open_inference import MESSAGES, METHODS, SERVICE
from operators.core.deployment.server.protocol import BadRequest
from operators.core.deployment.server.refusals import refusal_of
from operators.core.deployment.server.service import Service

_CODES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 409: "FAILED_PRECONDITION",
          422: "FAILED_PRECONDITION", 503: "UNAVAILABLE"}  # fmt: skip
QUIET = ("ServerLive", "ServerReady", "ModelReady")


class Stop(Exception):
    """The call ends with this code of gRPC."""

    def __init__(self, code: str, told: str, retry_seconds: int | None = None) -> None:
        super().__init__(code, told, retry_seconds)
        self.code, self.told, self.retry_seconds = code, told, retry_seconds


class GrpcServer:
    """Answers the protocol's calls."""

    def __init__(self, service: Service, access: Access) -> None:
        self._service, self._access = service, access
        self._server: Any = None

    async def start(self, address: str, certificate: tuple[Path, Path] | None) -> int:
        """Listen, with TLS where there is a certificate (its chain and its key, PEM); return the port."""
        limits = self._service.limits
        options = (
            ("grpc.max_receive_message_length", limits.body_bytes),
            ("grpc.so_reuseport", 0),
        )
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=limits.connections)
        handlers = {name: self._handler(name) for name in METHODS}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if certificate:
            chain, key = certificate
            credentials = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
            port = self._server.add_secure_port(address, credentials)
        else:
            port = self._server.add_insecure_port(address)
        await self._server.start()
        return int(port)

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and return when those under way have ended; they have `seconds` for it."""
        await self._server.stop(seconds)

    def _handler(self, name: str) -> Any:
        answers: dict[str, Callable[[Any, _Call], Awaitable[Any]]] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }

        async def answer(message: Any, context: Any) -> Any:
            return await self._framed(name, answers[name], message, context)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=MESSAGES[f"{name}Request"].FromString,
            response_serializer=MESSAGES[f"{name}Response"].SerializeToString,
        )

    async def _framed(
        self, name: str, answer: Callable[[Any, _Call], Awaitable[Any]], message: Any, context: Any
    ) -> Any:
        """Give the call its id, answer it or end it with its code, and log how it ended."""
        call, begun, code = _Call(context), time.monotonic(), "UNKNOWN"
        try:
            self._admit(name, call)
            response = await answer(message, call)
            code = "OK"
            await context.send_initial_metadata((("x-request-id", call.request_id),))
            return response
        except Stop as stop:
            code = stop.code
            trailing = (("retry-after", str(stop.retry_seconds)),) if stop.retry_seconds else ()
            await context.abort(grpc.StatusCode[code], stop.told, trailing)
        finally:
            if code != "OK" or name not in QUIET:
                log_request(
                    request_id=call.request_id, status=code, seconds=time.monotonic() - begun, method=name,
                    caller=call.caller, version=call.version, texts=call.texts,
                )  # fmt: skip

    def _admit(self, name: str, call: _Call) -> None:
        if name.startswith("Repository"):
            if refusal := self._access.refusal(call.headers):
                raise Stop(_CODES[refusal[0]], refusal[1])
        elif name.startswith("Model"):
            call.caller = self._access.caller(call.headers)
            if call.caller is None:
                raise Stop("UNAUTHENTICATED", "an API key is needed: send it as x-api-key in the metadata")

    def _check_model(self, name: str) -> None:
        if name != self._service.model:
            raise Stop("NOT_FOUND", f"there is no model {name!r} here, only {self._service.model!r}")

    async def _server_live(self, _: Any, __: _Call) -> Any:
        return MESSAGES["ServerLiveResponse"](live=True)

    async def _server_ready(self, _: Any, __: _Call) -> Any:
        return MESSAGES["ServerReadyResponse"](ready=self._service.is_ready)

    async def _model_ready(self, message: Any, _: _Call) -> Any:
        is_ready = message.name == self._service.model and self._service.has(message.version or None)
        return MESSAGES["ModelReadyResponse"](ready=is_ready)

    async def _server_metadata(self, _: Any, __: _Call) -> Any:
        return MESSAGES["ServerMetadataResponse"](**self._service.metadata())

    async def _model_metadata(self, message: Any, _: _Call) -> Any:
        self._check_model(message.name)
        try:
            return MESSAGES["ModelMetadataResponse"](**self._service.model_metadata(message.version or None))
        except NotServed as error:
            raise Stop("NOT_FOUND", str(error)) from None

    async def _model_infer(self, message: Any, call: _Call) -> Any:
        self._check_model(message.model_name)
        version = message.model_version or None
        try:
            self._service.check_room()
            wanted = decode_request(
                message, call.request_id, call.context.time_remaining(), self._service.limits.request_texts
            )
            answered = await self._service.answer(wanted, version)
        except (BadRequest, NotServed, Overloaded, InferenceFailed) as error:
            refusal = refusal_of(error, is_named=version is not None)
            self._service.metrics.refused(refusal.reason)
            raise Stop(refusal.code, str(error), refusal.retry_seconds) from None
        call.version, call.texts = answered.version, len(wanted.texts)
        return encode_response(self._service.model, wanted, answered, is_raw=bool(message.raw_input_contents))

    async def _index(self, message: Any, _: _Call) -> Any:
        response = MESSAGES["RepositoryIndexResponse"]()
        for line in self._service.index(only_ready=message.ready):
            response.models.add(**line)
        return response

    async def _load(self, message: Any, _: _Call) -> Any:
        self._check_model(message.model_name)
        parameters = {name: value.string_param for name, value in message.parameters.items()}
        try:
            version, release = repository.load_parameters(parameters)
            await repository.load(self._service.versions, version, release)
        except repository.Refused as refused:
            raise Stop(_CODES[refused.status], str(refused)) from None
        return MESSAGES["RepositoryModelLoadResponse"]()

    async def _unload(self, message: Any, _: _Call) -> Any:
        """Unload the version that the parameter `version` names, or all that answer no requests."""
        self._check_model(message.model_name)
        version = message.parameters["version"].string_param if "version" in message.parameters else None
        try:
            if version:
                await repository.unload(self._service.versions, version)
            else:
                await repository.unload_idle(self._service.versions)
        except repository.Refused as refused:
            raise Stop(_CODES[refused.status], str(refused)) from None
        return MESSAGES["RepositoryModelUnloadResponse"]()


class _Call:
    """One call as it is told of."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.headers = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        self.request_id = usable_id(self.headers.get("x-request-id"))
        self.caller: str | None = None
        self.version: str | None = None
        self.texts: int | None = None
