"""The command that answers a request for erasure: forget."""

from __future__ import annotations

import argparse
import datetime
import getpass
import sys
from collections import Counter
from typing import TYPE_CHECKING

from operators.cli.answer import Answer, WrongUse
from operators.cli.commands import Commands
from operators.cli.holding import document_of, lines_of
from operators.cli.places import (
    backup_settings,
    landing_settings,
    opened,
    pseudonym_key,
    recipes,
    shown_progress,
    store_settings,
)

if TYPE_CHECKING:
    from operators.core.erasure.erase import Found
    from operators.core.erasure.search import Place
    from operators.core.erasure.subject import Subject
    from operators.core.progress import Progress
    from operators.core.storage import Store

_WORDS = (
    "Say what holds a person's rows, or was made of them. That is: files, rows, data sets, models, releases, "
    "backups. With --yes, have the rows left out from now on, and forget what was made of them once none of it is live."
)
_STATUS = (
    "1 something stays that should not (a legal hold, files that cannot be read; with --pending, anything at all); "
    "2 nobody of that description is here, and nothing was done."
)


def add_commands(commands: Commands) -> None:
    """Add this module's command to the parser."""
    parser = commands.add("forget", forget, _WORDS, status=_STATUS, examples=("forget -", "forget - --yes"))
    parser.add_argument(
        "subject",
        nargs="*",
        metavar="SUBJECT",
        help="of one person: a mail address, 'Name <address>', another identifier; - reads them from standard input, a "
        "line each, which keeps them out of the shell's history",
    )
    parser.add_argument("--row", action="append", default=[], metavar="ID", help="a row by its id; may be repeated")
    parser.add_argument("--day", metavar="YYYY-MM-DD", help="ids of rows mean those of this day only")
    parser.add_argument("--pending", action="store_true", help="instead of a subject: all rows that are on record")
    parser.add_argument("--yes", action="store_true", help="do it; without this nothing is written")
    parser.add_argument(
        "--reason", metavar="TEXT", help="which request this answers, in words that do not name the person"
    )
    # Without a default of their own these are the platform's.
    parser.add_argument("--backup-file", metavar="FILE", help="settings of the backup store; default: the platform's")
    parser.add_argument(
        "--landing-file", metavar="FILE", help="JSON, fields of the connection nightshift_landing; default: as above"
    )
    parser.add_argument(
        "--pseudonym-key-file", metavar="FILE", help="the pseudonyms' key, hexadecimal; default: as above"
    )
    parser.add_argument("--recipes", metavar="FOLDER", help="the recipes; default: as above")


def forget(options: argparse.Namespace) -> Answer:
    """Report, and with `--yes` go as far as is possible now."""
    from operators.core.erasure.erase import look_again
    from operators.core.recovery.holding import backups_holding

    subject = _subject(options)
    key = pseudonym_key(options.pseudonym_key_file)
    places = _places(options, key)
    with (
        opened(store_settings(options)) as store,
        opened(backup_settings(options.backup_file)) as backup,
        shown_progress("forget", "stored files") as progress,
    ):
        found = _look(store, places, subject, key, progress)
        if subject is not None and found.is_nothing:
            raise WrongUse("nobody of that description is in the store or the landing zone: nothing was done")
        forgot = 0
        if options.yes:
            forgot = _go_on(store, backup, found, options, is_new=subject is not None)
            found = look_again(store, found)
        holding = backups_holding(backup, found.lineage.objects)
    document = {**document_of(found, holding), "applied": options.yes, "forgotten": forgot}
    is_good = not found.lineage.is_held and not found.unread and not found.other_keys
    if subject is None:
        is_good = is_good and found.is_held_by_nothing
    return Answer(document=document, lines=lines_of(found, holding), is_good=is_good)


def _subject(options: argparse.Namespace) -> Subject | None:
    """Return whom the command is about, None for all that is on record.

    Raises:
        WrongUse: Options do not go together.
        ValueError: Nobody is named, or too many.
    """
    from operators.core.erasure.subject import Subject

    if options.backup_store:
        raise WrongUse("forget works on the store, and reads the backup store beside it: leave --backup-store out")
    if options.yes and not (options.reason or "").strip():
        raise WrongUse("--yes needs --reason: which request this answers, in words that do not name the person")
    if options.pending:
        if options.subject or options.row or options.day:
            raise WrongUse("--pending is about all rows on record: name no subject, row or day beside it")
        return None
    words = [line.strip() for line in sys.stdin if line.strip()] if options.subject == ["-"] else options.subject
    day = None if options.day is None else datetime.date.fromisoformat(options.day).isoformat()
    subject = Subject.parse(words, options.row, day)
    if options.reason and subject.is_in(options.reason):
        raise WrongUse("--reason is kept for ever and names the person: give the number of the request instead")
    return subject


def _places(options: argparse.Namespace, key: bytes) -> list[Place]:
    from operators.core.erasure.search import Place
    from operators.core.sources.landing import LandingZone

    zone = LandingZone(landing_settings(options.landing_file))
    pairs = dict.fromkeys((recipe.source, recipe.anonymisation) for recipe in recipes(options.recipes))
    return [Place(zone, source, policy, key) for source, policy in pairs]


def _look(store: Store, places: list[Place], subject: Subject | None, key: bytes, progress: Progress) -> Found:
    from operators.core.erasure.erase import look_for, look_for_recorded

    if subject is None:
        return look_for_recorded(store, places, key, progress)
    return look_for(store, places, subject, key, progress)


def _go_on(store: Store, backup: Store, found: Found, options: argparse.Namespace, *, is_new: bool) -> int:
    """Have the rows on record, and what was made of them forgotten as far as that goes; return how many manifests."""
    from operators.core.erasure.erase import forget_files, put_rows_on_record

    by = getpass.getuser()
    if is_new:
        _check_clear(found, options)
        put_rows_on_record(store, backup, found, reason=options.reason, by=by)
    return forget_files(store, found, reason=options.reason, by=by)


def _check_clear(found: Found, options: argparse.Namespace) -> None:
    """Refuse ids that mean rows of several days: a source may number each day's rows anew."""
    days = Counter((row.source, row.id) for row in found.rows)
    if options.row and not options.day and max(days.values(), default=0) > 1:
        raise WrongUse("an id is that of rows of several days: say with --day which is meant; nothing was done")
