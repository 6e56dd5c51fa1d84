"""Commands about the keys of encrypted files: rotate-master-key."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from typing import Any

from rich.text import Text

from operators.cli.answer import Answer, WrongUse
from operators.cli.auditing import note_change
from operators.cli.commands import Commands
from operators.cli.places import opened, shown_progress, store_settings
from operators.core.settings import STORAGE_VARIABLE
from operators.core.storage.rotation import Rotated, rotate


def add_commands(commands: Commands) -> None:
    """Add this module's command to the parser."""
    parser = commands.add(
        "rotate-master-key",
        rotate_master_key,
        "Wrap every data key under the current master key. No object is rewritten; it may be stopped and run again.",
        status="1 when an endpoint was away, or a data key is lost.",
        examples=("rotate-master-key --new",),
    )
    parser.add_argument(
        "--new", action="store_true", help="first make a new version for this machine's platform, current from now on"
    )
    parser.add_argument(
        "--drop-old",
        action="store_true",
        help="afterwards delete the keys wrapped under other versions: who holds only those can read nothing more",
    )


def rotate_master_key(options: argparse.Namespace) -> Answer:
    """Rotate the store of the settings; run again, nothing is written."""
    if options.new:
        _make_version(options)
    with opened(store_settings(options)) as store, shown_progress("rotate", "keys") as progress:
        done = rotate(store, drop_old=options.drop_old, progress=progress)
        if done.written or done.dropped:
            detail = f"{done.written} written, {done.dropped} dropped"
            note_change(store, "rotate master key", f"version {done.master}", detail)
    return Answer(document=asdict(done), lines=_lines(done, options), is_good=not (done.behind or done.lost))


def _make_version(options: argparse.Namespace) -> None:
    from operators.local.layout import Layout
    from operators.local.services import renew_master_key

    if options.storage_file or os.environ.get(STORAGE_VARIABLE):
        raise WrongUse(
            "--new makes a version for this machine's platform; for a store that is named otherwise add the version to "
            "its settings (connection nightshift_store) wherever they are held, make it current, then rotate"
        )
    store_settings(options)  # says so where there is no platform
    renew_master_key(Layout.from_environment(os.environ))


def _lines(done: Rotated, options: argparse.Namespace) -> tuple[Any, ...]:
    lines: list[Any] = [
        f"{done.keys} data keys were found under other versions and are wrapped under version {done.master}: "
        f"{done.written} copies written, {done.dropped} old ones deleted"
    ]
    if done.behind:
        lines.append(Text(f"away meanwhile: {', '.join(done.behind)}; bring them back and run this again", style="red"))
    lines += [Text(f"no endpoint gives the data key of {name}; nothing was dropped", style="red") for name in done.lost]
    if options.new:
        from operators.local.layout import Layout

        backup = Layout.from_environment(os.environ).secrets / "backup.json"
        lines.append(
            "Services that run go on with the version they know, which opens all that is there: start them again "
            f"(`make stop`, then `make run`), rotate the backup too (--storage-file {backup}), and only then run this "
            "again with --drop-old."
        )
    return tuple(lines)
