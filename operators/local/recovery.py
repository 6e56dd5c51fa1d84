"""Recovery keys of the one-machine platform: the drill's lies with it, everybody else's outside it."""

from __future__ import annotations

import os
from pathlib import Path

from operators.core.recovery.kit import RecoveryKit, fingerprint
from operators.core.recovery.spec import DRILL_KEY
from operators.core.settings import StorageSettings
from operators.core.signing import Signer
from operators.local.credentials import Credentials
from operators.local.layout import Layout, PlatformError, write_private
from operators.local.serving import operator_file


def secret_files(layout: Layout) -> dict[str, str]:
    """Return the files without which the platform cannot be what it was, by their names in a backup."""
    named = {
        "credentials.json": layout.secrets / "credentials.json",
        "drill-kit.json": layout.drill_kit,
        "logins.json": layout.logins,
        "airflow.env": layout.airflow_environment,
        "serving.json": operator_file(layout),
    }
    return {name: str(path) for name, path in named.items()}


def configure(layout: Layout, backup: StorageSettings, credentials: Credentials) -> None:
    """Have a kit for the drill, with a key of its own that is made once."""
    trusted = [_public_key(credentials)]
    kit = RecoveryKit.new(backup, trusted)
    if layout.drill_kit.exists():
        held = RecoveryKit.from_json(layout.drill_kit.read_text())
        kit = RecoveryKit(private_key=held.private_key, trusted=kit.trusted, backup=kit.backup)
    write_private(layout.drill_kit, kit.to_json())
    write_private(layout.recovery_keys / f"{DRILL_KEY}.pub", kit.public_key + "\n")


def new_kit(layout: Layout, backup: StorageSettings, credentials: Credentials, path: Path) -> RecoveryKit:
    """Write a kit with a new key to a file outside the platform; only its public half stays.

    Raises:
        PlatformError: The file is there already, or lies in the platform's own folder.
    """
    path = path.absolute()
    if path.is_relative_to(layout.home):
        raise PlatformError(f"{path} lies in the platform's own folder and would be lost with it: name another place")
    kit = RecoveryKit.new(backup, [_public_key(credentials)])
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise PlatformError(f"{path} is there already: a kit is never written over, name a file of its own") from None
    except OSError as error:
        raise PlatformError(f"{path}: {str(error.strerror).lower()}; name a file in a folder that is there") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(kit.to_json())
    # Last: nothing is ever sealed for a key that nobody holds.
    write_private(layout.recovery_keys / f"keeper-{fingerprint(kit.public_key)}.pub", kit.public_key + "\n")
    return kit


def _public_key(credentials: Credentials) -> str:
    return Signer(bytes.fromhex(credentials.signing_key)).public_key
