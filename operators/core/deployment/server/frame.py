"""What is around each HTTP request: its id, who asks, and its line in the log."""

from __future__ import annotations

import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from operators.core.deployment.server.access import Access
from operators.core.deployment.server.logs import log_request, usable_id

MODELS = "/v2/models/"
"""What callers ask a model stands below; all else is open, or guarded by itself."""
QUIET = ("/metrics", "/v2/health/")
"""Asked every moment by machines: not worth a line each."""


class Frame:
    """Gives a request its id, answers 401 to who may not ask, and logs how it ended."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; `state` gives `request_id` and `headers`, takes `version` and `texts`."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, path = time.monotonic(), scope["path"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = usable_id(headers.get("x-request-id"))
        state = scope.setdefault("state", {})
        state["request_id"], state["headers"] = request_id, headers
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                listed = [*message.get("headers", ()), (b"x-request-id", request_id.encode("latin-1"))]
                message = {**message, "headers": listed}
            await send(message)

        caller = self._access.caller(headers) if path.startswith(MODELS) else None
        try:
            if caller is None and path.startswith(MODELS):
                refusal = {"error": "an API key is needed: send it as X-API-Key, or as Authorization: Bearer"}
                await JSONResponse(refusal, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, note)
            else:
                await self._app(scope, receive, note)
        finally:
            if status >= 400 or not path.startswith(QUIET):
                log_request(
                    request_id=request_id, status=status, seconds=time.monotonic() - begun, method=scope["method"],
                    path=path, caller=caller, version=state.get("version"), texts=state.get("texts"),
                )  # fmt: skip
