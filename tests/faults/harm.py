"""What each fault does with a request: the answer that the client gets, and what reaches the server."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.faults.catalogue import Kind
from tests.faults.messages import Message, answer, refusal
from tests.seaweed import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from tests.faults.proxy import Proxy, Rule

Harm = Callable[["Proxy", Message, "Rule"], Awaitable[Message | None]]


async def _effect_then_reset(proxy: Proxy, request: Message, _rule: Rule) -> None:
    await proxy.forward(request)


async def _reset(_proxy: Proxy, _request: Message, _rule: Rule) -> None:
    return None


async def _late_duplicate(proxy: Proxy, request: Message, _rule: Rule) -> Message:
    proxy.late.append(request)
    return await proxy.forward(request)


async def _late_effect(proxy: Proxy, request: Message, _rule: Rule) -> None:
    proxy.late.append(request)


async def _delay(proxy: Proxy, request: Message, rule: Rule) -> Message:
    await asyncio.sleep(float(rule.detail or 0.3))
    return await proxy.forward(request)


async def _server_error(_proxy: Proxy, _request: Message, rule: Rule) -> Message:
    return answer(int(rule.detail or 500), "Sorry", b"<html>gateway</html>", Content_Type="text/html")


async def _body(proxy: Proxy, request: Message, rule: Rule) -> Message:
    """Return the server's answer; one without a body cannot be harmed there, and does not count."""
    response = await proxy.forward(request)
    rule.fired -= not response.body
    return response


async def _cut_body(proxy: Proxy, request: Message, rule: Rule) -> Message:
    response = await _body(proxy, request, rule)
    length = response.header("Content-Length")
    return response.with_body(response.body[: len(response.body) // 2]).with_header("Content-Length", length)


async def _short_body(proxy: Proxy, request: Message, rule: Rule) -> Message:
    response = await _body(proxy, request, rule)
    return response.with_body(response.body[: len(response.body) // 2])


async def _flipped_bit(proxy: Proxy, request: Message, rule: Rule) -> Message:
    response = await _body(proxy, request, rule)
    middle = len(response.body) // 2
    flipped = bytes(byte ^ 1 for byte in response.body[middle : middle + 1])
    return response.with_body(response.body[:middle] + flipped + response.body[middle + 1 :])


async def _wrong_key(proxy: Proxy, request: Message, rule: Rule) -> Message:
    others = [seen for target, seen in proxy.seen.items() if target != request.target and not target.startswith("?")]
    if not others:
        rule.fired -= 1
        return await proxy.forward(request)
    return others[-1]


async def _lost_write(_proxy: Proxy, request: Message, _rule: Rule) -> Message:
    return answer(200, "OK", ETag='"0"', x_amz_checksum_sha256=request.header("x-amz-checksum-sha256") or "")


async def _stale_list(proxy: Proxy, request: Message, rule: Rule) -> Message:
    response = await proxy.forward(request)
    items = re.findall(rb"<Contents>.*?</Contents>", response.body, re.DOTALL)
    rule.fired -= not items
    return response.with_body(response.body.replace(items[-1], b"")) if items else response


async def _circling_list(proxy: Proxy, request: Message, rule: Rule) -> Message:
    response = await proxy.forward(request)
    rule.fired -= b"<Contents>" not in response.body
    body = re.sub(rb"<IsTruncated>.*?</IsTruncated>", b"", response.body)
    more = b"<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>"
    return response.with_body(body.replace(b"</ListBucketResult>", more))


async def _wrong_checksum(proxy: Proxy, request: Message, _rule: Rule) -> Message:
    return (await proxy.forward(request)).with_header("x-amz-checksum-sha256", "A" * 43 + "=")


async def _fast_clock(proxy: Proxy, request: Message, rule: Rule) -> Message:
    response = await proxy.forward(request)
    ahead = time.time() + float(rule.detail)
    return response.with_header("Date", formatdate(ahead, usegmt=True))


async def _torn_complete(_proxy: Proxy, _request: Message, _rule: Rule) -> Message:
    body = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>torn</Message></Error>'
    return answer(200, "OK", body, Content_Type="application/xml")


async def _redirect(_proxy: Proxy, request: Message, rule: Rule) -> Message:
    return answer(307, "Temporary Redirect", Location=rule.detail + request.start.split()[1])


async def _ignored_condition(proxy: Proxy, request: Message, _rule: Rule) -> Message:
    return await proxy.forward(signed_again(request.with_header("If-None-Match", None), proxy.upstream))


def _refused(status: int, code: str) -> Harm:
    async def refuse(_proxy: Proxy, _request: Message, rule: Rule) -> Message:
        return refusal(int(rule.detail or status), code)

    return refuse


def signed_again(request: Message, upstream: str) -> Message:
    """Return the request with a signature for the headers that it has now."""
    path = request.start.split()[1]
    kept = {key: value for key, value in request.headers if key.lower() not in ("authorization", "x-amz-date", "host")}
    again = AWSRequest(method=request.method, url=upstream + path, headers=kept, data=request.body)
    again.context["client_config"] = None
    again.context["payload_signing_enabled"] = False
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(again)
    headers = tuple((key, str(value)) for key, value in again.headers.items())
    host = ("Host", urlsplit(upstream).netloc)
    return Message(start=request.start, headers=(host, *headers), body=request.body)


HARM: Mapping[Kind, Harm] = {
    Kind.SLOW_BODY: _body,
    Kind.SLOW_DOWN: _refused(503, "SlowDown"),
    Kind.SERVER_ERROR: _server_error,
    Kind.LOST_REPLY: _effect_then_reset,
    Kind.LOST_CALL: _reset,
    Kind.LATE_DUPLICATE: _late_duplicate,
    Kind.LATE_EFFECT: _late_effect,
    Kind.CUT_BODY: _cut_body,
    Kind.SHORT_BODY: _short_body,
    Kind.FLIPPED_BIT: _flipped_bit,
    Kind.WRONG_KEY: _wrong_key,
    Kind.LOST_WRITE: _lost_write,
    Kind.STALE: _refused(404, "NoSuchKey"),
    Kind.STALE_LIST: _stale_list,
    Kind.CIRCLING_LIST: _circling_list,
    Kind.WRONG_CHECKSUM: _wrong_checksum,
    Kind.TORN_COMPLETE: _torn_complete,
    Kind.SPURIOUS_412: _refused(412, "PreconditionFailed"),
    Kind.SPURIOUS_409: _refused(409, "ConditionalRequestConflict"),
    Kind.DENIED: _refused(403, "ExpiredToken"),
    Kind.FAST_CLOCK: _fast_clock,
    Kind.SKEWED: _refused(403, "RequestTimeTooSkewed"),
    Kind.QUOTA: _refused(507, "QuotaExceeded"),
    Kind.REDIRECT: _redirect,
    Kind.IGNORED_CONDITION: _ignored_condition,
    Kind.DELAY: _delay,
}
