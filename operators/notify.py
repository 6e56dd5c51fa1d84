"""Tell people that a task failed for good: by the webhook and the mail addresses of the connection `nightshift_alerts`.

The message names the task and the kind of error, and links to the log. It holds no words of the error, which could hold
somebody's data. It is sent at least once: Airflow may find one dead task twice, and then both messages have one `id`.
"""

from __future__ import annotations

import html
import logging
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from operators import connections
from operators.core.manifest import canonical, sha256_hex

if TYPE_CHECKING:
    from airflow.sdk import Context

TIMEOUT_SECONDS = 10.0
MAIL_SERVER = "smtp_default"

log = logging.getLogger(__name__)


def notify_failure(context: Context) -> None:
    """Send the message, or log that it could not be sent; whatever happens, the task ends as it would have."""
    try:
        told, document = connections.alerts(), message(context)
    except Exception as error:
        log.warning("nobody was told of this failure: %s", type(error).__name__)
        return
    if told is None:
        return
    if told.url is not None:
        _try("the webhook", lambda: _send(str(told.url), told.token, document))
    if told.mail:
        _try("mail", lambda: _mail(told.mail, document))


def _try(way: str, send: Callable[[], None]) -> None:
    """Have one way fail without the other."""
    try:
        send()
    except Exception as error:
        # The error's own words may hold the address, and addresses of webhooks are secrets.
        log.warning("nobody was told of this failure by %s: %s", way, type(error).__name__)


def message(context: Context) -> dict[str, Any]:
    """Return what people are told; equal for one failure however often it is found."""
    instance = context["ti"]
    failed = {
        "dag_id": instance.dag_id,
        "run_id": instance.run_id,
        "task_id": instance.task_id,
        "map_index": instance.map_index,
        "try_number": instance.try_number,
    }
    error = context.get("exception")
    kind = error if isinstance(error, str) else type(error).__name__
    kind = kind.split(":")[0] if error is not None else "no exception"
    return {
        "id": sha256_hex(canonical(failed)),
        "text": f"{instance.dag_id}: {instance.task_id} failed ({kind}), run {instance.run_id}",
        "error": kind,
        "url": getattr(instance, "log_url", None),
        **failed,
    }


def _send(url: str, token: str | None, document: dict[str, Any]) -> None:
    # Not by httpx: it logs every address that it asks.
    headers = {"Content-Type": "application/json", "Idempotency-Key": document["id"]}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    asked = urllib.request.Request(url, canonical(document), headers, method="POST")  # noqa: S310 - see connections.alerts
    with urllib.request.build_opener(_NoRedirect).open(asked, timeout=TIMEOUT_SECONDS):
        pass


def _mail(addresses: tuple[str, ...], document: dict[str, Any]) -> None:
    """Send a mail by Airflow's own connection to a mail server; one failure has one Message-ID however often found."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    link = html.escape(str(document["url"]))
    told = f'<p>{html.escape(document["text"])}</p><p><a href="{link}">{link}</a></p>'
    headers = {"Message-ID": f"<{document['id']}@nightshift>", "Auto-Submitted": "auto-generated"}
    with SmtpHook(smtp_conn_id=MAIL_SERVER) as server:
        server.send_email_smtp(
            to=list(addresses),
            from_email=server.from_email or addresses[0],
            subject=f"[Nightshift] {' '.join(document['text'].split())}",
            html_content=told,
            custom_headers=headers,
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token is for the address that was named, not for another that it points to."""

    def redirect_request(self, *arguments: Any) -> None:
        """Let a redirection be the error that it is here."""
