"""Where Airflow keeps its own database: a file of this machine, or PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import Connection

from operators.connections.fields import found

if TYPE_CHECKING:
    from operators.core.recovery.postgresql import PostgresServer

DATABASE = "nightshift_database"


def airflow_database_path() -> Path | None:
    """Return the path of Airflow's SQLite database; None where Airflow keeps it elsewhere."""
    path = Connection.get("nightshift_local").extra_dejson.get("airflow_database")
    return Path(path) if path else None


def airflow_server() -> PostgresServer | None:
    """Return Airflow's PostgreSQL; None where it is none, or this worker may not reach it.

    Raises:
        ValueError: The connection lacks a part; the message repeats no value of it.
    """
    from operators.core.recovery.postgresql import PostgresServer

    connection = found(DATABASE)
    if connection is None:
        return None
    host, user, password, database = connection.host, connection.login, connection.password, connection.schema
    if not (host and user and password and database):
        raise ValueError(f"connection {DATABASE}: host, login, password and schema must be set")
    sslmode = str(connection.extra_dejson.get("sslmode", "prefer"))
    return PostgresServer(
        host=host, port=connection.port or 5432, user=user, password=password, database=database, sslmode=sslmode
    )
