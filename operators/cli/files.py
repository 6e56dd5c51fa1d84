"""Files that the command line names: read, or refused by name with what should be there, and never with their text."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from operators.cli.answer import WrongUse
from operators.core.recovery.kit import RecoveryKit
from operators.core.settings import StorageSettings

_SETTINGS = "settings of a store (JSON, docs/storage.md)"
_KIT = "a recovery kit, as `nightshift recovery-key FILE` writes it,"


def bytes_of(path: str | Path, what: str) -> bytes:
    """Return the bytes of a file.

    Args:
        path: As it was typed.
        what: What is expected there, for the message.

    Raises:
        WrongUse: Nothing can be read there.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise WrongUse(f"{path}: {str(error.strerror).lower()}; {what} is expected there") from None


def text_of(path: str | Path, what: str) -> str:
    """Return the text of a file; arguments and errors as above, and WrongUse where it is no text."""
    try:
        return bytes_of(path, what).decode()
    except UnicodeDecodeError:
        raise WrongUse(f"{path} holds no text; {what} is expected there") from None


def storage_in(path: str | Path) -> StorageSettings:
    """Return the settings of a store in a file.

    Raises:
        WrongUse: It holds none.
    """
    text = text_of(path, f"a file with {_SETTINGS}")
    try:
        return StorageSettings.from_json(text)
    except ValueError as error:
        raise WrongUse(f"{path}: {error}; {_SETTINGS} are expected there") from None


def kit_in(path: str | Path, backup_file: str | None = None) -> RecoveryKit:
    """Return the kit in a file, with the backup store's settings from another where it has moved.

    Raises:
        WrongUse: One of the files holds another thing.
    """
    text = text_of(path, _KIT)
    try:
        kit = RecoveryKit.from_json(text)
    except ValueError as error:
        raise WrongUse(f"{path}: {error}; {_KIT} is expected there") from None
    if backup_file is None:
        return kit
    return dataclasses.replace(kit, backup=storage_in(backup_file).without_keys())
