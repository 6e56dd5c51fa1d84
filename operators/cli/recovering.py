"""Commands about recovery: recovery-key."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from operators.cli.answer import Answer, WrongUse
from operators.cli.places import platform_layout


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add this module's commands to the parser."""
    words = (
        "Make a recovery key: the kit with its private half goes to FILE, which you keep elsewhere; this platform "
        "keeps the public half, for which its next backups are sealed. Without FILE, list the keys."
    )
    key = commands.add_parser("recovery-key", parents=[shared], help=words.split(":")[0], description=words)
    key.add_argument("file", nargs="?", metavar="FILE", help="where the kit goes; nothing may be there yet")
    key.set_defaults(command=recovery_key)


def recovery_key(options: argparse.Namespace) -> Answer:
    """Make a key, or list those that backups are sealed for."""
    from operators.core.recovery.kit import fingerprint
    from operators.local import ports, recovery, seaweedfs
    from operators.local.credentials import load_credentials
    from operators.local.layout import PlatformError

    layout = platform_layout()
    if options.file is None:
        keys = {path.stem: path.read_text().strip() for path in sorted(layout.recovery_keys.glob("*.pub"))}
        lines = tuple(f"{name}: {fingerprint(key)}" for name, key in keys.items()) or ("there is none",)
        return Answer(document=keys, lines=lines, is_good=any(name != recovery.DRILL for name in keys))
    credentials = load_credentials(layout)
    backup = seaweedfs.backup_settings(ports.load(layout), credentials)
    try:
        kit = recovery.new_kit(layout, backup, credentials, Path(options.file))
    except PlatformError as error:
        raise WrongUse(str(error)) from error
    name = fingerprint(kit.public_key)
    lines = (
        f"{options.file} is the kit of recovery key {name}. Put it where this machine's loss does not reach, with "
        "nobody who need not have it: with the backup it opens everything.",
        "Backups from now on are sealed for it too; trigger `back_up_platform` to have one.",
    )
    return Answer(document={"key": name, "file": options.file}, lines=lines)
