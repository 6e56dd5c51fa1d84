"""How commands are declared, so that all explain themselves alike."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from operators.cli.answer import Answer

TOPICS = {
    "look": ("status", "ls", "show", "get", "lineage", "verify", "quarantine"),
    "releases": ("releases", "rollback"),
    "the store": ("init", "probe", "scrub", "gc", "hold", "resync", "primary", "rotate-master-key", "metrics"),
    "backups and recovery": ("recovery-key", "drill", "restore", "undelete", "base-backup", "archive-wal"),
    "people and their data": ("forget", "reveal", "audit", "login", "logins", "token"),
}
"""Every command, in the order in which `nightshift --help` tells of them."""

WIDEST = 100
"""Characters of a line of help, also on a wider screen."""
_NAMES = 19
"""Characters that the longest name and two spaces take."""


class Commands:
    """The commands of one parser."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        """Begin with none; the parser's help tells of those that are added."""
        self._parser, self._intro = parser, parser.description or ""
        self._parsers: Any = parser.add_subparsers(
            required=True, metavar="COMMAND", prog="nightshift", help=argparse.SUPPRESS
        )
        self._words: dict[str, str] = {}

    def add(
        self,
        name: str,
        command: Callable[[argparse.Namespace], Answer],
        words: str,
        *,
        status: str = "",
        examples: Sequence[str] = (),
        asks_which_store: bool = True,
    ) -> argparse.ArgumentParser:
        """Add a command and return its parser.

        Args:
            name: What is typed.
            command: What does it.
            words: What it does. The first sentence stands in the list of all commands too.
            status: What an exit status other than that of all commands means.
            examples: Command lines, without `nightshift`.
            asks_which_store: Whether it works on any store, not on this machine's platform alone.
        """
        width = min(WIDEST, shutil.get_terminal_size((WIDEST, 0)).columns) - 2
        notes = [textwrap.fill(f"Exit status: {status}", width)] if status else []
        notes += ["\n  nightshift ".join(["examples:", *examples])] if examples else []
        parser: argparse.ArgumentParser = self._parsers.add_parser(
            name,
            description=textwrap.fill(words, width),
            epilog="\n\n".join(notes),
            formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=width, max_help_position=30),
        )
        parser.add_argument("--json", action="store_true", help="print a document instead of text")
        if asks_which_store:
            _ask_which_store(parser)
        parser.set_defaults(command=command)
        self._words[name] = words.split(". ")[0].rstrip(".")
        self._parser.description = f"{self._intro}\n{self._listed()}"
        return parser

    def _listed(self) -> str:
        """Return the commands by topic, a line each."""
        topics = []
        for topic, names in TOPICS.items():
            lines = [f"  {name:{_NAMES}}{self._words[name]}" for name in names if name in self._words]
            topics.append("\n".join([f"{topic}:", *lines]))
        return "\n\n".join(topics)


def _ask_which_store(parser: argparse.ArgumentParser) -> None:
    place = parser.add_argument_group("which store").add_mutually_exclusive_group()
    place.add_argument(
        "--storage-file",
        metavar="FILE",
        help="a store by its settings; default: by $NIGHTSHIFT_STORAGE, else this machine's platform "
        "($NIGHTSHIFT_HOME, or ./var)",
    )
    place.add_argument("--backup-store", action="store_true", help="the platform's backup store")
