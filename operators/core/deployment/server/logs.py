"""The server's log: a JSON object a line, on standard error, with the id of the request. No text, no key."""

from __future__ import annotations

import datetime
import itertools
import logging
import os
import re
import sys
from typing import Any

import msgspec

REQUESTS = logging.getLogger("nightshift.requests")
_ID = re.compile(r"[\x21-\x7e]{1,256}")
_PROCESS = os.urandom(10).hex()
_COUNT = itertools.count()


class JsonFormatter(logging.Formatter):
    """Writes a record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "message": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def log_as_json() -> None:
    """Have every record of this process written as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def usable_id(given: str | None) -> str:
    """Return the id that a caller gave its request, or one made for it where it is none for a header or a log."""
    return given if given and _ID.fullmatch(given) else f"{_PROCESS}{next(_COUNT):012x}"


def log_request(*, request_id: str, status: int | str, seconds: float, **fields: Any) -> None:
    """Write the line of a request that has ended."""
    told = {"request_id": request_id, "status": status, "ms": round(seconds * 1e3, 2), **fields}
    REQUESTS.info("request", extra={"fields": {name: value for name, value in told.items() if value is not None}})
