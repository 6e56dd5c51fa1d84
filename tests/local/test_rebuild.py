"""A machine with nothing on it has its platform back, from the backup's endpoint and a kit."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from operators.core.errors import KeyMissing
from operators.core.recovery.back_up_platform import Surroundings, back_up_platform
from operators.core.recovery.kit import RecoveryKit
from operators.core.settings import StorageSettings
from operators.core.storage import Store, open_store
from operators.local import ports, seaweedfs
from operators.local.credentials import load_credentials
from operators.local.layout import Layout, PlatformError
from operators.local.logins import load_logins, set_login
from operators.local.rebuild import Wish, rebuild
from operators.local.supervisor import marked
from operators.local.up import check
from tests.core.recovery.conftest import SIGNER, make_release, new_store
from tests.core.recovery.test_platform_restore import state_of
from tests.core.recovery.test_reconcile import TABLES

pytestmark = pytest.mark.integration


SERVING = json.dumps({"api_keys": {"mail": "ab" * 32}, "tls_ca": "/not/on/this/machine.pem"})
"""What the operator wrote of the servers: lost, they would answer whoever asks."""


@pytest.fixture
def lost(short_path: Path) -> tuple[Store, RecoveryKit]:
    """What a platform was that is gone but for its backup in a folder, and its kit."""
    former = Layout(home=short_path / "f")
    former.make()
    encryption = load_credentials(former).encryption
    (former.secrets / "serving.json").write_text(SERVING)
    store = new_store(short_path / "store", 1, 1, encryption)
    backup = new_store(short_path / "backup", 1, 1, encryption)
    make_release(store, "2002-09-01", b"one")
    database = short_path / "airflow.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executescript(TABLES)
        connection.execute("INSERT INTO task_instance VALUES ('d', 'r', 't', -1, 'running', 1, 1, NULL)")
    (endpoint,) = backup.membership.endpoints.values()
    where = StorageSettings.from_json(
        f'{{"endpoints": [{{"name": "e0", "url": "file://{endpoint.folder}"}}], "acknowledge": 1}}'  # type: ignore[attr-defined]
    )
    kit = RecoveryKit.new(where, [SIGNER.public_key])
    set_login(former, load_credentials(former), "ada", "operator")
    around = Surroundings(
        store=StorageSettings(endpoints=where.endpoints, acknowledge=1, encryption=encryption),
        database=database,
        files={name: former.secrets / name for name in ("credentials.json", "serving.json", "logins.json")},
        recipients={"keeper": kit.public_key},
    )
    back_up_platform(store, backup, around, signer=SIGNER)
    backup.close()
    return store, kit


def test_a_bare_machine_has_everything_back(lost: tuple[Store, RecoveryKit], short_path: Path) -> None:
    """A wrong kit leaves nothing; a killed restore keeps the platform from starting; the next one ends it."""
    store, kit = lost
    layout = Layout(home=short_path / "n")
    environment = {**os.environ, ports.BASE_VARIABLE: str(ports.free_base(os.getpid()))}
    with pytest.raises(KeyMissing):
        rebuild(layout, environment, Wish(kit=RecoveryKit.new(kit.backup, kit.trusted)), print)
    assert not layout.restoring.exists() and not (layout.secrets / "credentials.json").exists()

    def stop_half_way(done: int, total: int, note: str) -> None:
        if "copied" in note and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(layout, environment, Wish(kit=kit), print, stop_half_way)
    with pytest.raises(PlatformError, match="has not ended"):
        check(layout, environment)
    done = rebuild(layout, environment, Wish(kit=kit), print)

    held = {path.stem: path.read_text().strip() for path in layout.recovery_keys.glob("*.pub")}
    assert (layout.secrets / "serving.json").read_text() == SERVING
    assert [one.name for one in load_logins(layout, load_credentials(layout))] == ["admin", "ada"]
    assert held["keeper"] == kit.public_key and sorted(held) == ["drill", "keeper"]
    assert marked(layout) == [] and not layout.restoring.exists()
    assert 0 < time.time() - float(layout.restored.read_text()) < 600
    assert done.restored.database and done.reconciled is not None and done.reconciled.cleared == ("d/r/t",)
    assert seaweedfs.store_settings(layout, ports.load(layout), load_credentials(layout)).encryption == (
        store.vault.keyring and load_credentials(Layout(home=short_path / "f")).encryption
    )
    again = rebuild(layout, environment, Wish(kit=kit), print)
    assert (again.restored.written, again.restored.younger, again.restored.database) == (0, (), False)


def test_the_store_of_a_rebuilt_platform_is_that_of_before(lost: tuple[Store, RecoveryKit], short_path: Path) -> None:
    """Slot for slot and byte for byte, read through the servers of the new place."""
    from operators.local.rebuild import _stores

    store, kit = lost
    layout = Layout(home=short_path / "n")
    environment = {**os.environ, ports.BASE_VARIABLE: str(ports.free_base(os.getpid() + 7))}
    rebuild(layout, environment, Wish(kit=kit), print)
    with _stores(layout, ports.load(layout), environment) as settings:
        back = open_store(settings)
        found = state_of(back)
        back.close()
    expected = state_of(store)

    # The record of the backup was appended after the cut.
    del expected["streams"]["backup"]
    expected["manifests"] = {
        digest: one for digest, one in expected["manifests"].items() if one.stage != "backup_record"
    }
    assert expected == found
