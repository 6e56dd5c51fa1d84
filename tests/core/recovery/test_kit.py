"""Recovery keys: who may open a backup's secrets, and who may not."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from operators.core.errors import DataError, KeyMissing
from operators.core.recovery.escrow import CONNECTION, Escrow, export_rows
from operators.core.recovery.kit import RecoveryKit, seal
from operators.core.settings import EndpointSettings, StorageSettings
from tests.encryption import ENCRYPTION

ENDPOINT = EndpointSettings(name="b", url="file:///backup", access_key="access", secret_key="secret")
BACKUP = StorageSettings(endpoints=(ENDPOINT,), acknowledge=1, encryption=ENCRYPTION)


def test_each_kit_opens_what_is_sealed_for_it_and_no_other() -> None:
    """Two keepers open the same secrets; a third, whose key is another, is told for whom they are."""
    one, two, three = (RecoveryKit.new(BACKUP, []) for _ in range(3))
    sealed = seal(b"secrets", [one.public_key, two.public_key])

    assert (one.open(sealed), two.open(sealed)) == (b"secrets", b"secrets")
    assert b"secrets" not in sealed
    with pytest.raises(KeyMissing, match="wrong kit"):
        three.open(sealed)


def test_a_changed_escrow_is_refused() -> None:
    """One byte of the sealed copy, or the format's number."""
    kit = RecoveryKit.new(BACKUP, [])
    document = json.loads(seal(b"secrets", [kit.public_key]))
    (name,) = document["sealed"]
    text = document["sealed"][name]
    changed = {**document, "sealed": {name: ("B" if text[40] == "A" else "A").join([text[:40], text[41:]])}}

    with pytest.raises(DataError, match="was changed"):
        kit.open(json.dumps(changed).encode())
    with pytest.raises(DataError, match="another format"):
        kit.open(json.dumps({**document, "format": 0}).encode())


def test_a_kit_reads_back_and_holds_no_key_of_the_files() -> None:
    """What its keeper has opens the escrow and reaches the backup; its text is shown by no repr."""
    kit = RecoveryKit.new(BACKUP, ["ab" * 32])
    again = RecoveryKit.from_json(kit.to_json())

    assert again == kit
    assert again.backup.encryption is None and again.backup.endpoints == BACKUP.endpoints
    assert kit.private_key not in repr(kit)
    for wrong in ("{}", "[]", "no", kit.to_json().replace(kit.private_key, "00")):
        with pytest.raises(ValueError, match="kit"):
            RecoveryKit.from_json(wrong)


def test_an_escrow_reads_back() -> None:
    """Settings with their keys, files and rows."""
    escrow = Escrow(store=BACKUP, files={"a": "text"}, connections=[{"conn_id": "x", "port": 1}], variables=[])

    assert Escrow.decode(escrow.encode()) == escrow
    assert "secret" not in repr(escrow)
    with pytest.raises(DataError, match="another format"):
        Escrow.decode(escrow.encode().replace(b'"format":1', b'"format":9'))


def test_connections_are_exported_in_plain(tmp_path: Path) -> None:
    """Under the current Fernet key or a former one; under an unknown one the row is named and the value is not."""
    old, new, unknown = (Fernet.generate_key().decode() for _ in range(3))
    path = tmp_path / "airflow.db"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE connection (conn_id, conn_type, password, extra, port, is_encrypted, is_extra_encrypted)"
        )
        hidden = Fernet(old).encrypt(b"hunter2").decode()
        database.execute("INSERT INTO connection VALUES ('db', 'generic', ?, '{}', 5432, 1, 0)", (hidden,))
    database.close()

    (row,) = export_rows(path, "connection", CONNECTION, [new, old])
    assert (row["conn_id"], row["password"], row["extra"], row["port"]) == ("db", "hunter2", "{}", 5432)
    assert export_rows(path, "variable", ("key", "val"), [new]) == []
    with pytest.raises(DataError, match="connection db") as refused:
        export_rows(path, "connection", CONNECTION, [unknown])
    assert hidden not in str(refused.value)
