"""Commands on releases: releases, rollback."""

from __future__ import annotations

import argparse
import getpass
import sys
import uuid
from collections.abc import Mapping
from typing import Any

from operators.cli.answer import Answer, WrongUse
from operators.cli.auditing import note_change
from operators.cli.commands import Commands
from operators.cli.places import opened, recipes, serving_settings, store_settings
from operators.core.errors import StorageError


def add_commands(commands: Commands) -> None:
    """Add this module's commands to the parser."""
    words = "Tell what became of each release of a recipe, and why."
    status = "1 when the newest failed."
    told = commands.add("releases", releases, words, status=status, examples=("releases mail_triage",))
    told.add_argument("recipe", help="by name")
    told.add_argument(
        "--steps", type=int, default=20, metavar="N", help="the newest N; 0 for all (default %(default)s)"
    )
    words = (
        "Make the former release of a recipe live again on every server. It needs neither Airflow nor the store: the "
        "servers still hold it."
    )
    roll = commands.add("rollback", rollback, words, examples=("rollback mail_triage",))
    roll.add_argument("recipe", help="by name")
    roll.add_argument(
        "--timeout-seconds",
        type=float,
        default=60.0,
        metavar="S",
        help="how long a server may be away (default %(default)g)",
    )


def releases(options: argparse.Namespace) -> Answer:
    """Return the steps that controllers noted, oldest first."""
    from operators.core.deployment.releases import deploy_steps

    with opened(store_settings(options)) as store:
        steps = [dict(step) for step in deploy_steps(store, options.recipe)]
    if not steps:
        raise WrongUse(f"nothing of {options.recipe!r} was ever released here; see `ls streams`")
    shown = steps[-options.steps :] if options.steps else steps
    return Answer(
        document=shown, lines=tuple(_line(step) for step in shown), is_good=steps[-1]["action"] != "withdrawn"
    )


def rollback(options: argparse.Namespace) -> Answer:
    """Roll back once; each call of the command is a wish of its own. The servers first: they need no store for it."""
    from operators.core.deployment.client import open_servers
    from operators.core.deployment.roll_back import note_rollback, switch_back

    _check_known(options.recipe)
    with open_servers(serving_settings(), options.recipe, options.timeout_seconds) as servers:
        done = switch_back(servers, request=f"cli-{uuid.uuid4().hex}", by=getpass.getuser())
        line = f"{done['to_version']} is live again on {len(servers)} servers; {done['from_version']} went"
        print(f"nightshift: {line}", file=sys.stderr)
        try:
            with opened(store_settings(options)) as store:
                note_rollback(store, servers, options.recipe)
                note_change(store, "roll back", options.recipe, line)
        except StorageError as error:
            away = f"the store is away ({error}): the servers keep the record; the next deploy or rollback notes it"
            return Answer(document={**done, "store": str(error)}, lines=(line, away))
    return Answer(document={**done, "is_noted": True}, lines=(line,))


def _check_known(name: str) -> None:
    """Return unless the platform's recipes can be read and none has this name.

    Raises:
        WrongUse: None has: a slip of the pen would wait for servers that there are not.
    """
    try:
        known = [recipe.name for recipe in recipes(None)]
    except Exception:  # a recipe that cannot be read keeps nobody from rolling back
        return
    if name not in known:
        raise WrongUse(f"no recipe {name!r}: there are {', '.join(known)}")


def _line(step: Mapping[str, Any]) -> str:
    """Return one step in one line, with its reason where it has one."""
    share = f" {step['share']:.0%}" if "share" in step else ""
    why = f": {step['reason']}" if "reason" in step else ""
    by = f" by {step['by']}" if "by" in step and "reason" not in step else ""
    return f"{str(step['at'])[:19]}  {step['version']}  {str(step['action']).replace('_', ' ')}{share}{by}{why}"
