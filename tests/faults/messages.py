"""HTTP/1.1 messages, read whole and written whole: as much of the protocol as S3 clients and servers speak."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

_HOP_BY_HOP = ("transfer-encoding", "expect", "connection")


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A request or a response."""

    start: str
    """Its first line."""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str | None:
        """Return a header's value, None where it has none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def with_header(self, name: str, value: str | None) -> Message:
        """Return the message with a header set, or without it."""
        others = tuple(item for item in self.headers if item[0].lower() != name.lower())
        return replace(self, headers=others if value is None else (*others, (name, value)))

    def with_body(self, body: bytes) -> Message:
        """Return the message with another body and the length that belongs to it."""
        return replace(self, body=body).with_header("Content-Length", str(len(body)))

    def encode(self) -> bytes:
        """Return its bytes; the length is what its header says, also where that is wrong."""
        lines = [self.start, *(f"{key}: {value}" for key, value in self.headers)]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body

    @property
    def status(self) -> int:
        """The status of a response."""
        return int(self.start.split()[1])

    @property
    def method(self) -> str:
        """The method of a request."""
        return self.start.split()[0]

    @property
    def target(self) -> str:
        """Key and query of a request below the bucket, decoded: `run/x/1` or `?list-type=2&prefix=run/x/`."""
        parts = urlsplit(self.start.split()[1])
        key = parts.path.removeprefix("/").partition("/")[2]
        return unquote(key + (f"?{parts.query}" if parts.query else ""))


def answer(status: int, reason: str, body: bytes = b"", **headers: str) -> Message:
    """Return a response; `_` in a header's name stands for `-`."""
    named = tuple((key.replace("_", "-"), value) for key, value in headers.items())
    return Message(start=f"HTTP/1.1 {status} {reason}", headers=named).with_body(body)


def refusal(status: int, code: str, words: str = "as the test has it") -> Message:
    """Return an S3 server's refusal."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{words}</Message></Error>'
    return answer(status, code, body.encode(), Content_Type="application/xml")


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Message | None:
    """Return the next request of a connection, None where it ended. A body that waits for `100 Continue` is let in."""
    head = await _read_head(reader)
    if head is None:
        return None
    if (head.header("Expect") or "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return await _read_body(reader, head, has_body=True)


async def read_response(reader: asyncio.StreamReader, method: str) -> Message:
    """Return the response to a request of that method.

    Raises:
        ConnectionError: The server ended the connection.
    """
    head = await _read_head(reader)
    if head is None:
        raise ConnectionResetError("the server ended the connection")
    if head.status == 100:
        return await read_response(reader, method)
    return await _read_body(reader, head, has_body=method != "HEAD" and head.status not in (204, 304))


async def _read_head(reader: asyncio.StreamReader) -> Message | None:
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    headers = tuple((key, value.strip()) for key, _, value in (line.partition(":") for line in lines[1:] if line))
    return Message(start=lines[0], headers=headers)


async def _read_body(reader: asyncio.StreamReader, head: Message, *, has_body: bool) -> Message:
    chunked = (head.header("Transfer-Encoding") or "").lower() == "chunked"
    length = head.header("Content-Length")
    body = b""
    if has_body and chunked:
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        while await reader.readline() not in (b"\r\n", b""):
            continue
    elif has_body and length is not None:
        body = await reader.readexactly(int(length))
    kept = tuple(item for item in head.headers if item[0].lower() not in _HOP_BY_HOP)
    message = replace(head, headers=kept, body=body)
    return message.with_body(body) if chunked else message
