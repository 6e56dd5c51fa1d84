"""Secrets of the one-machine platform: generated once, kept in one file that this user alone reads."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, dataclass, field, fields

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

    @property
    def ui_user(self) -> str:
        """Return the name to log in with."""
        return "admin"


def load_credentials(layout: Layout) -> Credentials:
    """Return the platform's secrets, generated if there are none yet.

    Raises:
        PlatformError: The file is unreadable or lacks one; it is never overwritten, for old data depends on it.
    """
    path = layout.secrets / "credentials.json"
    if not path.exists():
        write_private(path, json.dumps(asdict(_generate()), indent=1))
    try:
        return Credentials(**json.loads(path.read_text()))
    except (TypeError, ValueError, OSError) as error:
        names = ", ".join(item.name for item in fields(Credentials))
        raise PlatformError(f"{path} cannot be read ({type(error).__name__}); it must hold {names}.") from None


def _generate() -> Credentials:
    return Credentials(
        ui_password=secrets.token_urlsafe(12),
        jwt_secret=secrets.token_urlsafe(48),
        api_secret=secrets.token_urlsafe(32),
        fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        store_access_key=secrets.token_hex(10),
        store_secret_key=secrets.token_hex(20),
        backup_access_key=secrets.token_hex(10),
        backup_secret_key=secrets.token_hex(20),
        pseudonym_key=secrets.token_hex(32),
        serving_token=secrets.token_urlsafe(24),
    )
