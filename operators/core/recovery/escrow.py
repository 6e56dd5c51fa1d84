"""The escrow: the secrets without which a backup is bytes, and what Airflow's database keeps under its Fernet key."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from operators.core.errors import DataError
from operators.core.manifest import FORMAT, canonical
from operators.core.settings import StorageSettings

CONNECTION = ("conn_id", "conn_type", "description", "host", "schema", "login", "password", "port", "extra")
VARIABLE = ("key", "val", "description")
_SECRET = {"password": "is_encrypted", "extra": "is_extra_encrypted", "val": "is_encrypted"}
"""Columns that Airflow may keep under its Fernet key, and the column that says whether it did."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Escrow:
    """What a recovery key opens."""

    store: StorageSettings = field(repr=False)
    """The store's, with the keys of its files: they open the backup too."""
    files: Mapping[str, str] = field(repr=False, default_factory=dict)
    """Texts of the platform's secret files by name: Fernet and JWT keys, logins, Airflow's settings."""
    recipients: Mapping[str, str] = field(default_factory=dict)
    """Public halves of the recovery keys by name: whoever restores goes on sealing for them."""
    connections: Sequence[Mapping[str, Any]] = field(repr=False, default=())
    """Of Airflow's database, in plain."""
    variables: Sequence[Mapping[str, Any]] = field(repr=False, default=())

    def encode(self) -> bytes:
        """Return the document, to be sealed."""
        document = {name: getattr(self, name) for name in ("files", "recipients", "connections", "variables")}
        return canonical({"format": FORMAT, "store": asdict(self.store), **document})

    @classmethod
    def decode(cls, data: bytes) -> Escrow:
        """Read back what `encode` wrote.

        Raises:
            DataError: It is no escrow of this format.
        """
        try:
            document = json.loads(data)
            if document.pop("format") != FORMAT:
                raise DataError(f"an escrow of another format than {FORMAT}: use the Nightshift release that wrote it")
            store = StorageSettings.from_json(json.dumps(document.pop("store")))
            return cls(store=store, **document)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"not an escrow: {type(error).__name__}") from None


def export_rows(database: Path, table: str, columns: Sequence[str], fernet_keys: Iterable[str]) -> list[dict[str, Any]]:
    """Return the rows of Airflow's table of connections or variables, in plain.

    Args:
        database: A copy of Airflow's SQLite database.
        table: `connection` or `variable`.
        columns: `CONNECTION` or `VARIABLE`.
        fernet_keys: What may have encrypted them, the current key first.

    Raises:
        DataError: A value is under another key than these; the message names the row, never the value.
    """
    keys = [Fernet(key) for key in fernet_keys]
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
        reader.row_factory = sqlite3.Row
        if not reader.execute("SELECT 1 FROM sqlite_master WHERE type='table' AND name=?", (table,)).fetchone():
            return []
        order = columns[0]
        rows = [dict(row) for row in reader.execute(f"SELECT * FROM {table} ORDER BY {order}")]  # noqa: S608 - ours
    return [{name: _plain(row, name, keys, f"{table} {row[order]}") for name in columns if name in row} for row in rows]


def _plain(row: Mapping[str, Any], column: str, keys: Sequence[Fernet], what: str) -> Any:
    value = row[column]
    if value is None or not row.get(_SECRET.get(column, "")):
        return value
    try:
        return MultiFernet(keys).decrypt(str(value).encode()).decode() if keys else _refuse(what)
    except InvalidToken:
        return _refuse(what)


def _refuse(what: str) -> str:
    raise DataError(f"{what} is encrypted under another Fernet key than the settings hold: give that one as well")
