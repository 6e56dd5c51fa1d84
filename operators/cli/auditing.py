"""The audit trail on the command line: audit, and the note that every changing command leaves."""

from __future__ import annotations

import argparse
import getpass
import uuid
from dataclasses import asdict

from rich.text import Text

from operators.cli.answer import Answer
from operators.cli.commands import Commands
from operators.cli.places import opened, store_settings
from operators.core.storage import Store
from operators.core.storage.audit import Change, note, trail, verify


def add_commands(commands: Commands) -> None:
    """Add this module's command to the parser."""
    words = "Show who changed what, oldest first; with `verify`, check the whole chain."
    status = "with `verify`, 1 when the chain is broken; the first broken entry is named."
    parser = commands.add("audit", audit, words, status=status, examples=("audit", "audit verify"))
    parser.add_argument("verify", nargs="?", choices=["verify"], help="check, and show nothing")


def audit(options: argparse.Namespace) -> Answer:
    """Show or check the trail."""
    with opened(store_settings(options)) as store:
        if options.verify:
            return _verdict(store)
        entries = trail(store)
    lines = tuple(
        f"{entry.generation:6d}  {entry.at}  {entry.change.by}: {entry.change.action} {entry.change.subject}"
        f"{'; ' if entry.change.detail else ''}{entry.change.detail}"
        for entry in entries
    )
    return Answer(document=[asdict(entry) for entry in entries], lines=lines or ("nothing was changed yet",))


def _verdict(store: Store) -> Answer:
    verdict = verify(store)
    if verdict.broken is None:
        return Answer(document=asdict(verdict), lines=(f"{verdict.entries} entries, each follows from the one before",))
    line = f"entry {verdict.broken} is broken: {verdict.why}; the {verdict.entries} before it are whole"
    return Answer(document=asdict(verdict), lines=(Text(line, style="red"),), is_good=False)


def note_change(store: Store, action: str, subject: str, detail: str = "") -> None:
    """Have what this command did on the trail, under the name of who runs it."""
    event = f"cli-{uuid.uuid4().hex}"
    note(store, Change(action=action, subject=subject, by=getpass.getuser(), event=event, detail=detail))
