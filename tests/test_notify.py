"""People are told of a failure once it is final, in words that hold no data, and the task never fails for it."""

from __future__ import annotations

import email
import email.message
import email.policy
import http.server
import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from operators import connections
from operators.core.errors import DataError, GateFailed
from operators.notify import MAIL_SERVER, message, notify_failure
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


class Mailbox:
    """What a mail server took, and from whom."""

    def __init__(self) -> None:
        self.taken: list[tuple[Envelope, email.message.EmailMessage, bool]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep a mail, with whether it came encrypted from somebody who had logged in."""
        read = email.message_from_bytes(envelope.original_content or b"", policy=email.policy.default)
        self.taken.append((envelope, read, session.ssl is not None and session.authenticated))
        return "250 taken"


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Mailbox]:
    """A real mail server on loopback that takes mail by STARTTLS and a login only, and a connection that names it."""
    authority, box = trustme.CA(), Mailbox()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any) -> AuthResult:
        return AuthResult(success=(login.login, login.password) == (b"nightshift", TOKEN.encode()))

    with socket.create_server(("127.0.0.1", 0)) as free:  # the controller takes no port of the kernel's choice
        port = free.getsockname()[1]
    server = Controller(
        box, hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True, auth_required=True,
        authenticator=check,
    )  # fmt: skip
    server.start()
    named = {
        connections.ALERTS: SimpleNamespace(extra_dejson={"mail": ["ops@example.org", "ada@example.org"]}, password=""),
        MAIL_SERVER: Connection(
            conn_id=MAIL_SERVER, conn_type="smtp", host="127.0.0.1", port=port, login="nightshift", password=TOKEN,
            extra=json.dumps({"disable_ssl": True, "from_email": "nightshift@example.org", "timeout": 5}),
        ),
    }  # fmt: skip
    monkeypatch.setattr(Connection, "get", lambda name: named[name])
    yield box
    server.stop()


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


@pytest.mark.parametrize("extra", [{}, {"url": "file:///etc/passwd"}, {"url": 5}, {"mail": []}])
def test_a_connection_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]) -> None:
    """By a message that does not repeat it."""
    monkeypatch.setattr(Connection, "get", lambda name: SimpleNamespace(extra_dejson=extra, password=None))
    with pytest.raises(ValueError, match="its extra must") as caught:
        connections.alerts()

    assert "passwd" not in str(caught.value)


def test_a_task_without_an_exception_is_told_too() -> None:
    """One that was killed."""
    assert message(failure(None))["error"] == "no exception"


def test_people_are_told_by_mail(mailbox: Mailbox) -> None:
    """Everybody who is listed, encrypted, with a link to the log and no word of the error."""
    notify_failure(failure(DataError("jane@example.org, 4111111111111111")))
    [(envelope, mail, was_safe)] = mailbox.taken
    body = mail.get_body(("html",))

    assert was_safe
    assert envelope.rcpt_tos == ["ops@example.org", "ada@example.org"]
    assert envelope.mail_from == "nightshift@example.org"
    assert mail["Subject"] == "[Nightshift] retrain_mail_triage: gate failed (DataError), run scheduled__1"
    assert body is not None
    assert 'href="http://127.0.0.1:17400/dags/x"' in body.get_content()
    assert b"jane" not in (envelope.original_content or b"")


def test_one_failure_is_one_mail_to_who_reads_it(mailbox: Mailbox) -> None:
    """Found twice, it has one Message-ID."""
    for changes in ({}, {}, {"try_number": 7}):
        notify_failure(failure(GateFailed("worse"), **changes))
    ids = [mail["Message-ID"] for _, mail, _ in mailbox.taken]

    assert ids[0] == ids[1] != ids[2]


def test_a_name_cannot_add_to_a_mail(mailbox: Mailbox) -> None:
    """Neither a header nor a tag."""
    notify_failure(failure(run_id="x\r\nBcc: eve@example.org\r\n\r\n<script>"))
    [(envelope, mail, _)] = mailbox.taken
    body = mail.get_body(("html",))

    assert (mail["Bcc"], envelope.rcpt_tos) == (None, ["ops@example.org", "ada@example.org"])
    assert body is not None
    assert "<script" not in body.get_content()


def test_a_mail_server_that_nobody_vouches_for_gets_no_password(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its certificate is checked before the login; the log says that nobody was told."""
    monkeypatch.delenv("SSL_CERT_FILE")
    notify_failure(failure(GateFailed("worse")))

    assert mailbox.taken == []
    assert "nobody was told of this failure by mail: SSLCertVerificationError" in caplog.text
    assert TOKEN not in caplog.text


def test_one_way_that_fails_leaves_the_other(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mail server the webhook is told all the same."""
    both = SimpleNamespace(extra_dejson={"url": webhook.url, "mail": ["ops@example.org"]}, password=None)
    monkeypatch.setattr(Connection, "get", lambda name: {connections.ALERTS: both}[name])
    notify_failure(failure(GateFailed("worse")))

    assert len(webhook.told) == 1


@pytest.mark.parametrize("mail", ["ops@example.org", ["nobody"], [5], ["a@b, c@d"], ["a@b\nBcc: c@d"]])
def test_addresses_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, mail: object) -> None:
    """By a message that does not repeat them."""
    monkeypatch.setattr(Connection, "get", lambda name: SimpleNamespace(extra_dejson={"mail": mail}, password=None))
    with pytest.raises(ValueError, match="'mail' of its extra must list"):
        connections.alerts()


def test_every_task_has_the_callback() -> None:
    """By the default arguments of every DAG."""
    assert default_args("platform")["on_failure_callback"] is notify_failure
