"""Whom backups are sealed for, and what the drill opens them with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import Connection

from operators.connections.fields import extra_of, found, hexadecimal
from operators.core.recovery.spec import DRILL_KEY

if TYPE_CHECKING:
    from operators.core.recovery.kit import RecoveryKit

RECOVERY = "nightshift_recovery"


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
    for path in sorted(Path(extra_of(RECOVERY, "public_keys")).glob("*.pub")):
        keys[path.stem] = path.read_text().strip()
        if len(hexadecimal(keys[path.stem])) != 32:
            raise ValueError(f"{path}: the public half of a recovery key, 64 hexadecimal digits, is expected")
    return RecoverySettings(public_keys=keys, files=files)


def keepers() -> frozenset[str] | None:
    """Return the fingerprints of the recovery keys of keepers; None where no connection says which there are.

    Raises:
        ValueError: A file of the folder holds no key.
    """
    from operators.core.recovery.kit import fingerprint

    if found(RECOVERY) is None:
        return None
    held = recovery_settings().public_keys
    return frozenset(fingerprint(key) for name, key in held.items() if name != DRILL_KEY)


def drill_kit() -> RecoveryKit:
    """Return the recovery kit that the drill has."""
    from operators.core.recovery.kit import RecoveryKit

    return RecoveryKit.from_json(Path(extra_of("nightshift_drill", "kit")).read_text())
