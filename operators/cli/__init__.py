"""`nightshift`: the command line for people.

Exit status: 0 all is well; 1 a check failed (damaged pieces, a service that is down, a deployment that failed);
2 wrong use (unknown digest, missing settings or keys); 3 the store or the landing zone is away, try again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from operators.cli import (
    admitting,
    archiving,
    auditing,
    forgetting,
    keys,
    looking,
    measuring,
    moving,
    probing,
    recovering,
    releasing,
    revealing,
    tracing,
    upkeep,
)
from operators.cli.answer import Answer, WrongUse
from operators.core.errors import (
    AllCopiesDamaged,
    DataError,
    KeyMissing,
    NightshiftError,
    SourceUnavailable,
    StorageError,
)

OK, FAILED, WRONG_USE, STORE_AWAY = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; print its answer, or one line that says what is wrong; return the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        answer: Answer = options.command(options)
    except NightshiftError as error:
        return _complain(error, options.json, _status_of(error))
    except (ValueError, OSError) as error:
        return _complain(error, options.json, WRONG_USE)
    if options.json:
        print(json.dumps(answer.document, indent=1))
    else:
        Console(soft_wrap=True, highlight=False).print(*answer.lines, sep="\n", markup=False)
    return OK if answer.is_good else FAILED


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="nightshift", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print a document instead of text")
    place = shared.add_mutually_exclusive_group()
    place.add_argument(
        "--storage-file",
        metavar="FILE",
        help="settings of the store; default: $NIGHTSHIFT_STORAGE, then the platform under $NIGHTSHIFT_HOME (./var)",
    )
    place.add_argument("--backup-store", action="store_true", help="the platform's backup store instead of its store")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    looking.add_commands(commands, shared)
    tracing.add_commands(commands, shared)
    moving.add_commands(commands, shared)
    releasing.add_commands(commands, shared)
    keys.add_commands(commands, shared)
    probing.add_commands(commands, shared)
    upkeep.add_commands(commands, shared)
    auditing.add_commands(commands, shared)
    forgetting.add_commands(commands, shared)
    revealing.add_commands(commands, shared)
    recovering.add_commands(commands, shared)
    archiving.add_commands(commands, shared)
    measuring.add_commands(commands, shared)
    admitting.add_commands(commands, shared)
    return parser


def _status_of(error: NightshiftError) -> int:
    if isinstance(error, DataError | WrongUse | KeyMissing):
        return WRONG_USE
    if isinstance(error, SourceUnavailable):
        return STORE_AWAY
    return STORE_AWAY if isinstance(error, StorageError) and not isinstance(error, AllCopiesDamaged) else FAILED


def _complain(error: Exception, as_json: bool, status: int) -> int:
    if as_json:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}))
    print(f"nightshift: {error}", file=sys.stderr)
    return status
