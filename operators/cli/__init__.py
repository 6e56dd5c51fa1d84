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
from operators.cli.commands import Commands
from operators.core.errors import (
    AllCopiesDamaged,
    DataError,
    KeyMissing,
    NightshiftError,
    SourceUnavailable,
    StorageError,
)
from operators.local.layout import PlatformError

OK, FAILED, WRONG_USE, STORE_AWAY = 0, 1, 2, 3

_MODULES = (
    looking, tracing, moving, releasing, keys, probing, upkeep, auditing, forgetting, revealing, recovering, archiving,
    measuring, admitting,
)  # fmt: skip
_INTRODUCTION = "Nightshift's command line. `nightshift COMMAND --help` has options and examples.\n"
_AFTERWORD = """\
Where a NAME is asked for it is a digest or a run key, of which 8 digits are enough, or latest:STREAM.
Exit status: 0 all is well; 1 a check failed (damaged pieces, a service that is down, a deployment that failed);
2 wrong use (unknown digest, missing settings or keys); 3 the store or the landing zone is away, try again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; print its answer, or one line that says what is wrong; return the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        answer: Answer = options.command(options)
    except NightshiftError as error:
        return _complain(error, options.json, _status_of(error))
    except (PlatformError, ValueError, OSError) as error:
        return _complain(error, options.json, WRONG_USE)
    if options.json:
        print(json.dumps(answer.document, indent=1))
    else:
        Console(soft_wrap=True, highlight=False).print(*answer.lines, sep="\n", markup=False)
    return OK if answer.is_good else FAILED


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="nightshift",
        usage="nightshift COMMAND ...",
        description=_INTRODUCTION,
        epilog=_AFTERWORD,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = Commands(parser)
    for module in _MODULES:
        module.add_commands(commands)
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
