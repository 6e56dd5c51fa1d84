"""Requests to an S3 server, through s3fs: the only module that speaks to an S3 client.

Each request has a limit whatever it waits for; what is safe to repeat is repeated; a server that does not answer is
left alone for a while. No secret is in any message: errors name the endpoint, what was asked, and what the server said.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import s3fs
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.exceptions import ConnectTimeoutError, FlexibleChecksumError, ReadTimeoutError, SSLError
from fsspec.asyn import get_loop, sync

from operators.core.settings import EndpointSettings
from operators.core.storage.endpoint import EndpointAway
from operators.core.storage.patience import Breaker, Patience

_CONNECTIONS = 32
_SILENCE = (TimeoutError, ConnectTimeoutError, ReadTimeoutError)
_BUSY_CODES = ("RequestTimeout", "SlowDown", "TooManyRequests")
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


class Refused(EndpointAway):
    """A request failed."""

    def __init__(self, message: str, *, code: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        """S3's word for it, e.g. `NoSuchKey`; empty where no answer came."""
        self.status = status
        """HTTP status; None where no answer came."""


class S3Client:
    """Speaks to one bucket of one server."""

    def __init__(self, settings: EndpointSettings, patience: Patience) -> None:
        self.name = settings.name
        self.bucket = settings.url.removeprefix("s3://")
        self.transport = _transport(settings.endpoint_url)
        """`tls`, `loopback`, or `plain`."""
        self._patience = patience
        self._breaker = Breaker(patience)
        self._loop = get_loop()
        self._files = _open(settings, patience, self._loop)
        weakref.finalize(self, _close, self._files, self._loop)

    def run(
        self,
        function: Callable[Arguments, Coroutine[Any, Any, Answer]],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Answer:
        """Return what a coroutine returns, in the thread that speaks to all servers."""
        answer: Answer = sync(self._loop, function, *arguments, **named)
        return answer

    def begin(self, coroutine: Coroutine[Any, Any, Answer]) -> Future[Answer]:
        """Start a coroutine in that thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def ask(
        self, what: str, operation: str, *, repeat: bool = True, size: int = 0, read: bool = False, **arguments: Any
    ) -> Any:
        """Return the answer to a request about the bucket.

        Args:
            what: What cannot be done where it fails, for the message.
            operation: The client's method, e.g. `put_object`.
            repeat: Whether a second request could do no harm: never for a conditional put.
            size: Bytes that go with the request.
            read: Whether `Body` of the answer is read, too.
            arguments: The operation's own.

        Raises:
            Refused: No answer after all tries, or one that no try will change.
            EndpointAway: The server is left alone.
        """
        try:
            await self._breaker.admit(self._try_out)
        except EndpointAway as error:
            raise EndpointAway(f"endpoint {self.name} {what}: {error}") from error
        for tried in range(1, self._patience.tries + 1):
            try:
                answer = await self._ask_once(operation, size, read, arguments)
            except Exception as error:
                refused = self._refusal(what, error)
                if not repeat or tried == self._patience.tries or not _may_help(refused, error):
                    self._note(refused, error)
                    raise refused from error
                await asyncio.sleep(self._patience.wait_seconds(tried))
            else:
                self._breaker.succeeded()
                return answer
        raise AssertionError("unreachable")

    async def _ask_once(self, operation: str, size: int, read: bool, arguments: dict[str, Any]) -> Any:
        request = self._files._call_s3(operation, Bucket=self.bucket, **arguments)
        answer = await asyncio.wait_for(request, self._patience.limit_seconds(size))
        if read:
            async with answer["Body"] as body:
                limit = self._patience.limit_seconds(answer["ContentLength"])
                answer["Body"] = bytes(await asyncio.wait_for(body.read(), limit))
        return answer

    async def _try_out(self) -> None:
        """Return where the server answers a small request soon, whatever it says."""
        try:
            await asyncio.wait_for(
                self._files._call_s3("head_bucket", Bucket=self.bucket), self._patience.trial_seconds
            )
        except Exception as error:
            if self._refusal("", error).status is None:
                raise

    def _note(self, refused: Refused, error: Exception) -> None:
        """Tell the breaker what a request came to. Damaged bytes are an answer, too."""
        is_answer = refused.status is not None and not _is_busy(refused)
        if is_answer or isinstance(error, FlexibleChecksumError):
            self._breaker.succeeded()
        else:
            self._breaker.failed(refused.code or type(error).__name__, silent=isinstance(error, _SILENCE))

    def _refusal(self, what: str, error: Exception) -> Refused:
        words = getattr(error, "strerror", None) or str(error) or "it took longer than the limit"
        response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
        if not isinstance(response, dict):
            return Refused(f"endpoint {self.name} {what}: {type(error).__name__}: {words}")
        code, status = response["Error"].get("Code", ""), response["ResponseMetadata"]["HTTPStatusCode"]
        return Refused(f"endpoint {self.name} {what}: {code} ({status}): {words}", code=code, status=status)


def _is_busy(refused: Refused) -> bool:
    return refused.status is not None and (refused.status >= 500 or refused.code in _BUSY_CODES)


def _may_help(refused: Refused, error: Exception) -> bool:
    """Return whether another try may help: not where the server was silent, is not the one, or has said no."""
    if refused.status is None:
        return not isinstance(error, (*_SILENCE, SSLError, _Redirected))
    return _is_busy(refused)


@functools.cache
def _session() -> AioSession:
    """Return one session for all endpoints: each new one reads the S3 service description again, 0.4 s of CPU."""
    return AioSession()


class _Redirected(Exception):
    """The server names another address."""


class _OnceAndHere(AIOHTTPSession):  # type: ignore[misc]
    """Sends a request once, and only to the server it is meant for.

    aiohttp would repeat a put, conditional or not, whose connection broke; and it would follow any redirect with the
    body, to another host or without TLS. botocore would ask the server where the bucket is, and ask again without end
    where that is redirected, too.
    """

    async def send(self, request: Any) -> Any:
        """Return the answer, which is not a redirect."""
        response = await super().send(request)
        if response.status_code in (301, 302, 303, 307, 308):
            response.raw.close()
            raise _Redirected(f"it redirects ({response.status_code}); name the server's own address in the settings")
        return response

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        session._retry_connection = False
        return SimpleNamespace(request=functools.partial(session.request, allow_redirects=False))


def _transport(address: str | None) -> str:
    parts = urlsplit(address or "https://")
    if parts.scheme == "https":
        return "tls"
    return "loopback" if parts.hostname in ("127.0.0.1", "::1", "localhost") else "plain"


def _close(files: s3fs.S3FileSystem, loop: asyncio.AbstractEventLoop) -> None:
    """End a client's connections, in the loop that they belong to; s3fs itself would take any loop that is running."""
    creator = getattr(files, "_s3creator", None)
    if creator is not None and loop.is_running():
        asyncio.run_coroutine_threadsafe(creator.__aexit__(None, None, None), loop)


def _open(settings: EndpointSettings, patience: Patience, loop: asyncio.AbstractEventLoop) -> s3fs.S3FileSystem:
    """Return the file system of one server; nothing is contacted yet.

    Raises:
        ValueError: The address holds a password, which messages and logs would show.
    """
    if settings.endpoint_url and urlsplit(settings.endpoint_url).username is not None:
        raise ValueError(f"endpoint {settings.name}: put the keys into access_key and secret_key, not into its address")
    client: dict[str, Any] = {"endpoint_url": settings.endpoint_url, "region_name": "us-east-1"}
    if settings.ca_file:
        client["verify"] = settings.ca_file
    files = s3fs.S3FileSystem(
        key=settings.access_key,
        secret=settings.secret_key,
        client_kwargs=client,
        config_kwargs={
            "connect_timeout": patience.connect_seconds,
            "read_timeout": patience.silence_seconds,
            "max_pool_connections": _CONNECTIONS,
            "retries": {"max_attempts": 0},
            "http_session_cls": _OnceAndHere,
            # Every body has our SHA-256 in a signed header: signing it a second time would cost 1.4 s of CPU a GiB,
            # and a checksum of the client's own choice breaks older servers.
            "s3": {"addressing_style": "path", "payload_signing_enabled": False},
            "request_checksum_calculation": "when_required",
        },
        session=_session(),
        asynchronous=True,
        loop=loop,
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    # What a retry means is decided here, not in the client.
    files.retries = 1
    return files
