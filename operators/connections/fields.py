"""What a connection holds, field by field; what is missing is named, what is wrong is never repeated."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException


def found(connection: str) -> Connection | None:
    """Return a connection that need not be there."""
    try:
        return Connection.get(connection)
    except AirflowNotFoundException:
        return None


def hexadecimal(text: str | None) -> bytes:
    """Return the bytes that hexadecimal digits stand for, none where they are no such digits."""
    try:
        return bytes.fromhex(text or "")
    except ValueError:
        return b""


def extra_of(connection: str, field: str) -> Any:
    """Return a field of a connection's extra.

    Raises:
        ValueError: It is missing or empty.
    """
    value = Connection.get(connection).extra_dejson.get(field)
    if not value:
        raise ValueError(f"connection {connection}: its extra has no {field!r}; see operators/connections")
    return value
