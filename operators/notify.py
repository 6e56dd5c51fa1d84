"""Tell people that a task failed for good: a message to the webhook that the connection `nightshift_alerts` names.

The message names the task and the kind of error, and links to the log. It holds no words of the error, which could hold
somebody's data. It is sent at least once: Airflow may find one dead task twice, and then both messages have one `id`.
"""

from __future__ import annotations

import logging
import urllib.request
from typing import TYPE_CHECKING, Any

from operators import connections
from operators.core.manifest import canonical, sha256_hex

if TYPE_CHECKING:
    from airflow.sdk import Context

TIMEOUT_SECONDS = 10.0

log = logging.getLogger(__name__)


def notify_failure(context: Context) -> None:
    """Send the message, or log that it could not be sent; whatever happens, the task ends as it would have."""
    try:
        target = connections.alerts()
        if target is not None:
            _send(*target, message(context))
    except Exception as error:
        # The error's own words may hold the address, and addresses of webhooks are secrets.
        log.warning("nobody was told of this failure: %s", type(error).__name__)


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


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token is for the address that was named, not for another that it points to."""

    def redirect_request(self, *arguments: Any) -> None:
        """Let a redirection be the error that it is here."""
