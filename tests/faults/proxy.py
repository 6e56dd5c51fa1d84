"""A proxy before an S3 server that does harm on schedule: to the n-th request that meets a method and a key."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.faults.catalogue import Kind
from tests.faults.messages import Message, read_request, read_response


@dataclass(kw_only=True)
class Rule:
    """One fault, and which requests it meets."""

    kind: Kind
    method: str = ".*"
    key: str = ".*"
    """Searched for in key and query below the bucket."""
    first: int = 1
    """The first of the requests that meet it to be harmed, counted from 1."""
    times: int = 1
    """How many are harmed; -1 for all."""
    detail: str = ""
    """What the kind takes: a status, a host, seconds."""
    met: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)

    def is_due(self, request: Message) -> bool:
        """Count a request, and say whether it is harmed."""
        if not (re.fullmatch(self.method, request.method) and re.search(self.key, request.target)):
            return False
        self.met += 1
        return self.met >= self.first and (self.times < 0 or self.fired < self.times)


class Proxy:
    """Passes requests on to one server, unless a rule is due; runs in a thread of its own."""

    def __init__(self, upstream: str, certificate: ssl.SSLContext | None = None) -> None:
        self.upstream = upstream
        self.requests: list[Message] = []
        self.seen: dict[str, Message] = {}
        """The last whole answer to a GET, by target."""
        self.late: list[Message] = []
        """Requests whose effect is to come, or to come again."""
        self._rules: list[Rule] = []
        self._certificate = certificate
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=certificate, limit=1 << 17))
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Its address."""
        port = self._server.sockets[0].getsockname()[1]
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{port}"

    def schedule(self, *rules: Rule) -> None:
        """Take these rules in place of the former ones, and forget all requests."""
        self._rules = list(rules)
        self.requests, self.late, self.seen = [], [], {}

    def release(self) -> list[int]:
        """Let late requests take their effect now, in the order they came; return the server's answers."""
        late, self.late = self.late, []
        return [self._call(self.forward(request)).status for request in late]

    def stop(self) -> None:
        """End the proxy and all its connections."""

        async def end() -> None:
            self._server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine):  # type: ignore[no-untyped-def]
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def forward(self, request: Message) -> Message:
        """Return the server's own answer."""
        place = urlsplit(self.upstream)
        reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1 << 17)
        try:
            writer.write(request.with_header("Connection", "close").encode())
            return await read_response(reader, request.method)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await read_request(reader, writer)) is not None:
                self.requests.append(request)
                rule = next((rule for rule in self._rules if rule.is_due(request)), None)
                response = await (self.forward(request) if rule is None else self._harm(request, rule, reader, writer))
                if response is None:
                    break
                writer.write(response.encode())
                await writer.drain()
                if rule is not None and rule.kind is Kind.CUT_BODY:
                    break
                if request.method == "GET" and response.status == 200:
                    self.seen[request.target] = response
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            _reset(writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _harm(
        self, request: Message, rule: Rule, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Message | None:
        """Return what the client is told; None where its connection ends instead."""
        from tests.faults.harm import HARM

        rule.fired += 1
        if rule.kind is Kind.BLACKHOLE:
            await reader.read(1)  # until the client gives up
            return None
        response = await HARM[rule.kind](self, request, rule)
        if response is None:
            _reset(writer)
        elif rule.kind is Kind.SLOW_BODY:
            await _drip(response, writer)
            return None
        return response


async def _drip(response: Message, writer: asyncio.StreamWriter) -> None:
    """Send the head at once and the body a byte a second, until the client gives up."""
    whole = response.encode()
    writer.write(whole[: len(whole) - len(response.body)])
    for byte in response.body:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(1.0)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a crash does: the peer is told `connection reset`, not `end of data`."""
    if not writer.transport.is_closing():
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
