"""Secrets of the one-machine platform: generated once, kept in one file that this user alone reads."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from operators.core.settings import EncryptionSettings, MasterKey
from operators.local.layout import Layout, PlatformError, write_private


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Every secret the platform has; none is shown in a repr."""

    ui_password: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    """One for all of Airflow's services: with one each, tasks could not speak to the API server."""
    api_secret: str = field(repr=False)
    fernet_key: str = field(repr=False)
    store_access_key: str = field(repr=False)
    store_secret_key: str = field(repr=False)
    backup_access_key: str = field(repr=False)
    backup_secret_key: str = field(repr=False)
    """Others than the store's: who can write the store cannot spoil the backup."""
    pseudonym_key: str = field(repr=False)
    """Hex, 32 bytes. With another key the same person gets another pseudonym, and every identity downstream changes."""
    serving_token: str = field(repr=False)
    signing_key: str = field(repr=False)
    """Hex, 32 bytes: what the gate signs with. With another one verdicts of before are refused, and made anew."""
    encryption_secret: str = field(repr=False)
    """Hex, 32 bytes: the store secret of docs/storage.md. With another one nothing new equals what is stored."""
    master_keys: Mapping[str, str] = field(repr=False)
    """Version to key, hex, 32 bytes; the highest version wraps what is written."""

    @property
    def ui_user(self) -> str:
        """Return the name to log in with."""
        return "admin"

    @property
    def encryption(self) -> EncryptionSettings:
        """Return the keys of the store and of its backups."""
        masters = tuple(MasterKey(version=int(version), secret=key) for version, key in self.master_keys.items())
        current = max(master.version for master in masters)
        return EncryptionSettings(masters=masters, current=current, store_secret=self.encryption_secret)


def load_credentials(layout: Layout) -> Credentials:
    """Return the platform's secrets, generated if there are none yet.

    Raises:
        PlatformError: The file is unreadable or lacks one; it is never overwritten, for old data depends on it.
    """
    path = _path(layout)
    if not path.exists():
        _write(layout, {**_generate(), **_generate_keys(), **_generate_signing_key()})
    try:
        document = json.loads(path.read_text())
        if added := _came_later(document):
            document |= added
            _write(layout, document)
        return _checked(document)
    except (TypeError, ValueError, AttributeError, OSError) as error:
        names = ", ".join(item.name for item in fields(Credentials))
        raise PlatformError(f"{path} cannot be read ({type(error).__name__}); it must hold {names}.") from None


def add_master_key(layout: Layout) -> Credentials:
    """Return the platform's secrets with a new version of the master key, which is current from now on."""
    credentials = load_credentials(layout)
    version = credentials.encryption.current + 1
    masters = {**credentials.master_keys, str(version): secrets.token_hex(32)}
    added = replace(credentials, master_keys=masters)
    _write(layout, asdict(added))
    return added


def _came_later(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return new secrets for those that a release of Nightshift brought after this file was made."""
    if not set(_generate()) <= set(document):
        return {}
    # Should the keys of encryption be lost instead, the store refuses the new ones; a signing key can be replaced.
    keys = {} if set(_generate_keys()) & set(document) else _generate_keys()
    return keys | ({} if "signing_key" in document else _generate_signing_key())


def _checked(document: dict[str, Any]) -> Credentials:
    credentials = Credentials(**document)
    _ = credentials.encryption  # refuses keys that are none
    return credentials


def _path(layout: Layout) -> Path:
    return layout.secrets / "credentials.json"


def _write(layout: Layout, document: Mapping[str, Any]) -> None:
    write_private(_path(layout), json.dumps(document, indent=1))


def _generate_keys() -> dict[str, Any]:
    return {"encryption_secret": secrets.token_hex(32), "master_keys": {"1": secrets.token_hex(32)}}


def _generate_signing_key() -> dict[str, Any]:
    return {"signing_key": secrets.token_hex(32)}


def _generate() -> dict[str, Any]:
    return {
        "ui_password": secrets.token_urlsafe(12),
        "jwt_secret": secrets.token_urlsafe(48),
        "api_secret": secrets.token_urlsafe(32),
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "store_access_key": secrets.token_hex(10),
        "store_secret_key": secrets.token_hex(20),
        "backup_access_key": secrets.token_hex(10),
        "backup_secret_key": secrets.token_hex(20),
        "pseudonym_key": secrets.token_hex(32),
        "serving_token": secrets.token_urlsafe(24),
    }
