"""A server that is asked more than it can answer: it refuses in time, says when to come again, and goes on."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from operators.core.deployment.client import Serving, bring
from operators.core.deployment.releases import Wanted, make_release
from operators.core.deployment.server.limits import Limits
from operators.core.models.classifier import Answer
from operators.core.settings import StorageSettings
from operators.core.storage import Store
from tests.core.deployment.conftest import ServerThread
from tests.core.deployment.tiny import RECIPE, tiny_verdict
from tests.core.signers import TRUSTED

pytestmark = pytest.mark.integration

LIMITS = Limits(parallel=1, batch_texts=4, queue_texts=8, request_texts=8, body_seconds=2.0)
PATH = f"/v2/models/{RECIPE}/infer"


@pytest.fixture
def server(tmp_path: Path, storage_settings: StorageSettings, store: Store) -> Iterator[ServerThread]:
    """A server of little patience, with a release."""
    one = ServerThread("server-1", tmp_path / "server-1", storage_settings, LIMITS)
    release = make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store), TRUSTED))
    controlled = one.controlled()
    bring(controlled, Serving(releases={release.version: release.digest}, current=release.version))
    yield one
    controlled.close()
    one.stop()


def _body(count: int = 1, **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [count], "data": ["lottery"] * count}], **more}


def _slow_down(server: ServerThread, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a text take that long."""
    resident = server.versions.get(server.versions.traffic.current)
    assert resident is not None
    answers = resident.classifier.answers

    def slowly(texts: Sequence[str]) -> list[Answer]:
        time.sleep(seconds * len(texts))
        return answers(texts)

    monkeypatch.setattr(resident.classifier, "answers", slowly)


def test_twice_what_it_can_is_refused_in_part_and_answered_in_time(
    server: ServerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At twice its rate a server answers at its rate, and refuses the rest with 429 and a time to come again.

    503, which says that an answer comes too late, is not among them: a queue of 80 ms makes nobody late.
    """
    _slow_down(server, 0.01, monkeypatch)  # 100 a second

    async def load() -> list[tuple[int, str | None]]:
        async with httpx.AsyncClient(base_url=server.url, timeout=10) as client:

            async def ask(number: int) -> tuple[int, str | None]:
                await asyncio.sleep(number / 200)
                response = await client.post(PATH, json=_body())
                return response.status_code, response.headers.get("Retry-After")

            return await asyncio.gather(*(ask(number) for number in range(400)))

    outcomes = asyncio.run(load())
    answered = sum(status == 200 for status, _ in outcomes)

    assert {(200, None), (429, "1")} == set(outcomes)
    assert answered >= 100  # 200 in two seconds on an idle machine


def test_a_caller_s_own_limit_is_held(server: ServerThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """`timeout` in microseconds: what takes longer is a 503 that says when to come again."""
    _slow_down(server, 0.3, monkeypatch)
    response = httpx.post(server.url + PATH, json=_body(parameters={"timeout": 50_000}))

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert "0.05 s" in response.json()["error"]


def test_a_refusal_reads_no_body(server: ServerThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the queue full a request is refused by its head, and the next one on the connection is understood."""
    _slow_down(server, 0.1, monkeypatch)
    full = [threading.Thread(target=httpx.post, args=(server.url + PATH,), kwargs={"json": _body(8)}) for _ in range(2)]
    for one in full:
        one.start()
        time.sleep(0.1)
    with httpx.Client(base_url=server.url) as client:
        refused = client.post(PATH, content=b"{no JSON")
        for one in full:
            one.join()
        after = client.post(PATH, json=_body())

    assert (refused.status_code, after.status_code) == (429, 200)


def test_a_body_that_does_not_come_is_given_up(server: ServerThread) -> None:
    """Who sends half a request gets 408 and is hung up on."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.settimeout(10)
        caller.sendall(head + b"half")
        answer = b""
        while piece := caller.recv(65536):
            answer += piece

    assert answer.startswith(b"HTTP/1.1 408")


def test_a_caller_that_hangs_up_is_counted(server: ServerThread) -> None:
    """Half a request and no more of it is a wrong one, and the server goes on."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(head + b"half")
        time.sleep(0.2)
    until, told = time.monotonic() + 10, f'nightshift_refused_total{{model="{RECIPE}",reason="wrong"}} 1.0'
    while told not in (text := httpx.get(server.url + "/metrics").text) and time.monotonic() < until:
        time.sleep(0.05)

    assert told in text
    assert httpx.post(server.url + PATH, json=_body()).status_code == 200


def test_compressed_requests_are_refused(server: ServerThread) -> None:
    """Nothing is unpacked: a small request cannot become a large one."""
    response = httpx.post(server.url + PATH, content=b"x", headers={"Content-Encoding": "gzip"})

    assert response.status_code == 415


def test_refusals_are_counted_by_reason(server: ServerThread) -> None:
    """Each reason is a series of its own."""
    httpx.post(server.url + PATH, content=b"{")
    httpx.post(server.url + PATH, content=b" " * (LIMITS.body_bytes + 1))
    text = httpx.get(server.url + "/metrics").text

    assert f'nightshift_refused_total{{model="{RECIPE}",reason="wrong"}} 1.0' in text
    assert f'nightshift_refused_total{{model="{RECIPE}",reason="too large"}} 1.0' in text
