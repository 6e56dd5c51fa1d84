"""Airflow Connections become settings here, and nowhere else: the only reader of secrets.

| connection | holds |
|---|---|
| `nightshift_store`, `nightshift_backup` | extra `storage`: storage settings as JSON, with endpoints and keys |
| `nightshift_landing` | extra: the fields of `LandingSettings`, `url` first: where source files arrive |
| `nightshift_models` | extra `folder`: base models, a folder each |
| `nightshift_pseudonyms` | password: the key of the pseudonyms, hexadecimal |
| `nightshift_vault` | extra `public_key`: what seals originals of pseudonyms, PEM; only reversible recipes need it |
| `nightshift_signing` | password: what the gate signs with, hexadecimal; extra `trusted`: public keys beside it |
| `nightshift_mlflow` | extra `uri`, `experiment`; password, with login or as a token: a tracker of trainings, if any |
| `nightshift_wandb` | extra `project`, `mode`, `folder`, `url`; password: the API key; another tracker |
| `nightshift_serving` | extra `servers`, `balancer`; password: the servers' bearer token |
| `nightshift_prices` | extra `currency`, `machine_hour`, `kilowatt_hour`: what a night costs; optional |
| `nightshift_recovery` | extra `public_keys`: a folder of `NAME.pub`, a recovery key each; `files`: secrets by name |
| `nightshift_drill` | extra `kit`: path of the drill's recovery kit, on its worker only |
| `nightshift_alerts` | extra `url`: a webhook that is told of failures; password: its bearer token, if any. Optional |
| `nightshift_local` | extra `scratch`, `data_docs`, `task_logs`: local folders; `airflow_database`: its SQLite |

The keys of encrypted files (`storage.encryption`: store secret, master keys) are those of the store in both; see
docs/storage.md. Airflow hides them in logs and in the UI, for each stands under a name that says it is secret.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from operators.core.overview.prices import PriceList
from operators.core.recovery.spec import DRILL_KEY
from operators.core.settings import LandingSettings, ServingSettings, StorageSettings

if TYPE_CHECKING:
    from operators.core.recovery.kit import RecoveryKit
    from operators.core.training.tracking import TrackingSettings

STORE = "nightshift_store"
BACKUP = "nightshift_backup"
LANDING = "nightshift_landing"
SIGNING = "nightshift_signing"
PRICES = "nightshift_prices"
RECOVERY = "nightshift_recovery"
ALERTS = "nightshift_alerts"


def store_settings(connection: str = STORE) -> StorageSettings:
    """Return the settings of a store, the platform's own unless another connection is named."""
    return StorageSettings.from_json(json.dumps(_extra(connection, "storage")))


def backup_settings() -> StorageSettings:
    """Return the settings of the backup store, whose credentials are its own."""
    return store_settings(BACKUP)


def landing_settings() -> LandingSettings:
    """Return where each source has its folder, and the keys to read there.

    Raises:
        ValueError: The connection names nothing that can be read; the message holds no value of it.
    """
    extra = {name: value for name, value in Connection.get(LANDING).extra_dejson.items() if value is not None}
    try:
        return LandingSettings(**extra)
    except TypeError:
        known = ", ".join(field.name for field in dataclasses.fields(LandingSettings))
        raise ValueError(f"connection {LANDING}: its extra must have url, and may have others of {known}") from None


def models_folder() -> Path:
    """Return the local folder that holds a folder for each model that waits to be adopted."""
    return Path(_extra("nightshift_models", "folder"))


def pseudonym_key() -> bytes:
    """Return the key of the pseudonyms, at least 32 bytes.

    Raises:
        ValueError: It is missing, not hexadecimal or too short; the message does not repeat it.
    """
    key = _hexadecimal(Connection.get("nightshift_pseudonyms").password)
    if len(key) < 32:
        raise ValueError("connection nightshift_pseudonyms: its password must be at least 64 hexadecimal digits")
    return key


def signing_key() -> bytes:
    """Return the private key that the gate signs its verdicts with, 32 bytes.

    Raises:
        ValueError: It is missing or no key; the message does not repeat it.
    """
    key = _hexadecimal(Connection.get(SIGNING).password)
    if len(key) != 32:
        raise ValueError(f"connection {SIGNING}: its password must be 64 hexadecimal digits, of `openssl rand -hex 32`")
    return key


def trusted_keys() -> frozenset[str]:
    """Return the public keys that a verdict may be signed with: those listed, and the signing key's where it is held.

    Raises:
        ValueError: There is none, or what is listed is no key.
    """
    from operators.core.signing import Signer

    connection = Connection.get(SIGNING)
    listed = connection.extra_dejson.get("trusted", [])
    if not isinstance(listed, list) or not all(isinstance(key, str) and len(_hexadecimal(key)) == 32 for key in listed):
        raise ValueError(f"connection {SIGNING}: 'trusted' of its extra must list public keys of 64 hexadecimal digits")
    own = {Signer(signing_key()).public_key} if connection.password or not listed else set()
    return frozenset(own.union(key.lower() for key in listed))


def tracking_settings() -> TrackingSettings:
    """Return the trackers that have a connection.

    Raises:
        ValueError: What speaks to one is not installed, or its connection has a field that is unknown.
    """
    from operators.core.training.tracking import MlflowSettings, TrackingSettings, WandbSettings

    mlflow, wandb = _found("nightshift_mlflow"), _found("nightshift_wandb")
    try:
        settings = TrackingSettings(
            mlflow=mlflow and MlflowSettings(**mlflow.extra_dejson, username=mlflow.login, password=mlflow.password),
            wandb=wandb and WandbSettings(**wandb.extra_dejson, key=wandb.password),
        )
    except TypeError:
        raise ValueError(
            "nightshift_mlflow takes uri and experiment in its extra, nightshift_wandb project, mode, folder and url"
        ) from None
    settings.check_installed()
    return settings


def vault_public_key() -> str:
    """Return what seals originals of pseudonyms, in PEM; the key that opens them is in no connection."""
    return str(_extra("nightshift_vault", "public_key"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RecoverySettings:
    """For whom a backup's secrets are sealed, and which files are among them."""

    public_keys: Mapping[str, str]
    """By name, in hexadecimal digits."""
    files: Mapping[str, Path]
    """Secret files of the platform, by the name that they have in a backup."""

    @property
    def has_keeper(self) -> bool:
        """Whether somebody outside the platform holds a key, beside the drill."""
        return any(name != DRILL_KEY for name in self.public_keys)


def recovery_settings() -> RecoverySettings:
    """Return for whom backups are sealed, and what else they hold of the platform's secrets.

    Raises:
        ValueError: A file of the folder holds no key.
    """
    extra = Connection.get(RECOVERY).extra_dejson
    files = {name: Path(path) for name, path in (extra.get("files") or {}).items()}
    keys = {}
    for path in sorted(Path(_extra(RECOVERY, "public_keys")).glob("*.pub")):
        keys[path.stem] = path.read_text().strip()
        if len(_hexadecimal(keys[path.stem])) != 32:
            raise ValueError(f"{path}: the public half of a recovery key, 64 hexadecimal digits, is expected")
    return RecoverySettings(public_keys=keys, files=files)


def drill_kit() -> RecoveryKit:
    """Return the recovery kit that the drill has."""
    from operators.core.recovery.kit import RecoveryKit

    return RecoveryKit.from_json(Path(_extra("nightshift_drill", "kit")).read_text())


def fernet_keys() -> tuple[str, ...]:
    """Return what Airflow encrypts connections and variables with, the current key first; none where it does not."""
    from airflow.configuration import conf

    return tuple(key for key in conf.get("core", "fernet_key", fallback="").split(",") if key)


def serving_settings() -> ServingSettings:
    """Return where the model servers are and how to speak to them."""
    servers = tuple(_extra("nightshift_serving", "servers"))
    token = Connection.get("nightshift_serving").password
    if not token:
        raise ValueError("connection nightshift_serving has no password: it must hold the servers' bearer token")
    return ServingSettings(servers=servers, balancer_url=_extra("nightshift_serving", "balancer"), token=token)


def price_list() -> PriceList | None:
    """Return the price list, None where there is no such connection.

    Raises:
        ValueError: What it says is no price list.
    """
    connection = _found(PRICES)
    if connection is None:
        return None
    known = {name: value for name, value in connection.extra_dejson.items() if value is not None}
    try:
        return PriceList(**known)
    except TypeError:
        names = ", ".join(field.name for field in dataclasses.fields(PriceList))
        raise ValueError(f"connection {PRICES}: its extra must have currency, and may have others of {names}") from None


def alerts() -> tuple[str, str | None] | None:
    """Return the webhook that is told of failures and its bearer token; None where nobody wants to be told.

    Raises:
        ValueError: The connection names no address; the message does not repeat what it holds.
    """
    connection = _found(ALERTS)
    if connection is None:
        return None
    url = connection.extra_dejson.get("url")
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"connection {ALERTS}: 'url' of its extra must be an address that begins with https://")
    return url, connection.password or None


def scratch_folder() -> Path:
    """Return the local work area; what lies there can be lost at any time."""
    return Path(_extra("nightshift_local", "scratch"))


def data_docs_folder() -> Path:
    """Return the folder of the Data Docs site."""
    return Path(_extra("nightshift_local", "data_docs"))


def task_log_folder() -> Path | None:
    """Return the folder of tasks' logs on this machine; None where they are kept elsewhere, by others' rules."""
    path = Connection.get("nightshift_local").extra_dejson.get("task_logs")
    return Path(path) if path else None


def airflow_database_path() -> Path | None:
    """Return the path of Airflow's SQLite database; None where Airflow keeps it elsewhere."""
    path = Connection.get("nightshift_local").extra_dejson.get("airflow_database")
    return Path(path) if path else None


def _found(connection: str) -> Connection | None:
    """Return a connection that need not be there."""
    try:
        return Connection.get(connection)
    except AirflowNotFoundException:
        return None


def _hexadecimal(text: str | None) -> bytes:
    """Return the bytes that hexadecimal digits stand for, none where they are no such digits."""
    try:
        return bytes.fromhex(text or "")
    except ValueError:
        return b""


def _extra(connection: str, field: str) -> Any:
    value = Connection.get(connection).extra_dejson.get(field)
    if not value:
        raise ValueError(f"connection {connection}: its extra has no {field!r}; see operators/connections.py")
    return value
