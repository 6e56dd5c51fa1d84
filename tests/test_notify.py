"""People are told of a failure once it is final, in words that hold no data, and the task never fails for it."""

from __future__ import annotations

import http.server
import json
import logging
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from operators import connections
from operators.core.errors import DataError, GateFailed
from operators.notify import message, notify_failure
from operators.policies import default_args

TOKEN = "token-of-the-webhook"


class Webhook(http.server.ThreadingHTTPServer):
    """A real server on loopback that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.status = 200

    @property
    def url(self) -> str:
        """Its address, with a secret in it as webhooks have."""
        return f"http://127.0.0.1:{self.server_port}/hooks/secret-path"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append((dict(self.headers), json.loads(body)))
        self.send_response(self.server.status)
        if self.server.status == 307:
            self.send_header("Location", self.server.url)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """A webhook that the connection names."""
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        connection = SimpleNamespace(extra_dejson={"url": server.url}, password=TOKEN)
        monkeypatch.setattr(Connection, "get", lambda name: {connections.ALERTS: connection}[name])
        yield server
        server.shutdown()
        thread.join()


def failure(error: object = None, **changes: Any) -> Any:
    """Return the context of a failed task."""
    fields = {"dag_id": "retrain_mail_triage", "run_id": "scheduled__1", "task_id": "gate", "map_index": -1,
              "try_number": 6, "log_url": "http://127.0.0.1:17400/dags/x"}  # fmt: skip
    return {"ti": SimpleNamespace(**(fields | changes)), "exception": error}


def test_the_webhook_is_told(webhook: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    """Which task of which run, the kind of error, where the log is; the token travels in a header."""
    with caplog.at_level(logging.DEBUG):
        notify_failure(failure(GateFailed("worse")))
    headers, told = webhook.told[0]

    assert "secret-path" not in caplog.text

    assert told["text"] == "retrain_mail_triage: gate failed (GateFailed), run scheduled__1"
    assert told["url"] == "http://127.0.0.1:17400/dags/x"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Idempotency-Key"] == told["id"]


@pytest.mark.parametrize("error", [DataError("jane@example.org, 4111111111111111"), "DataError: jane@example.org"])
def test_no_word_of_the_error_is_told(webhook: Webhook, error: object) -> None:
    """It could be somebody's data."""
    notify_failure(failure(error))

    assert webhook.told[0][1]["error"] == "DataError"
    assert "jane" not in json.dumps(webhook.told[0][1])


def test_one_failure_has_one_id(webhook: Webhook) -> None:
    """Found twice, it is told with the same id; another try, or another map index, is another failure."""
    for changes in ({}, {}, {"try_number": 7}, {"map_index": 0}):
        notify_failure(failure(GateFailed("worse"), **changes))
    ids = [told["id"] for _, told in webhook.told]

    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("harm", ["refuses", "points elsewhere", "is gone"])
def test_a_webhook_that_fails_fails_nothing_else(
    webhook: Webhook, harm: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says that nobody was told, and shows neither the address nor the token."""
    webhook.status = 307 if harm == "points elsewhere" else 500
    if harm == "is gone":
        gone = SimpleNamespace(extra_dejson={"url": "http://127.0.0.1:9/hooks/secret-path"}, password=TOKEN)
        monkeypatch.setattr(Connection, "get", lambda name: gone)
    with caplog.at_level(logging.DEBUG):
        notify_failure(failure(GateFailed("worse")))

    assert "nobody was told" in caplog.text
    assert "secret-path" not in caplog.text
    assert TOKEN not in caplog.text
    assert len(webhook.told) == (0 if harm == "is gone" else 1)


def test_without_the_connection_nobody_is_told_and_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is optional."""

    def absent(name: str) -> None:
        raise AirflowNotFoundException(name)

    monkeypatch.setattr(Connection, "get", absent)
    notify_failure(failure())

    assert caplog.text == ""


@pytest.mark.parametrize("extra", [{}, {"url": "file:///etc/passwd"}, {"url": 5}])
def test_a_connection_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]) -> None:
    """By a message that does not repeat it."""
    monkeypatch.setattr(Connection, "get", lambda name: SimpleNamespace(extra_dejson=extra, password=None))
    with pytest.raises(ValueError, match="'url' of its extra") as caught:
        connections.alerts()

    assert "passwd" not in str(caught.value)


def test_a_task_without_an_exception_is_told_too() -> None:
    """One that was killed."""
    assert message(failure(None))["error"] == "no exception"


def test_every_task_has_the_callback() -> None:
    """By the default arguments of every DAG."""
    assert default_args("platform")["on_failure_callback"] is notify_failure
