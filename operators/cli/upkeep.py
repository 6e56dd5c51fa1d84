"""Commands that keep the store sound: scrub, gc, resync, primary, undelete, hold."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from rich.text import Text

from operators.cli.answer import Answer, WrongUse
from operators.cli.auditing import note_change
from operators.cli.commands import Commands
from operators.cli.names import NAME_HELP, resolve
from operators.cli.places import opened, shown_progress, store_settings
from operators.core.errors import StorageError
from operators.core.progress import Progress
from operators.core.recovery.retention import needed
from operators.core.recovery.spec import RetentionSpec
from operators.core.storage import Store
from operators.core.storage.checks import Weight
from operators.core.storage.collect import Collector
from operators.core.storage.collection import CollectSpec, Plan
from operators.core.storage.holds import Hold, held, lift_hold, place_hold
from operators.core.storage.locks import Versioned, show_first_versions
from operators.core.storage.members import Membership, open_members
from operators.core.storage.primary import move_primary, settle_slots
from operators.core.storage.probe import may_be_member, probe
from operators.core.storage.resync import resync
from operators.core.storage.roots import Reached
from operators.core.storage.scrub import PARTS, Report
from operators.core.storage.scrubbing import NIGHTLY_PARTS, ScrubSpec, scrub_storage, summary


def add_commands(commands: Commands) -> None:
    """Add this module's commands to the parser."""
    _add_scrub(commands)
    _add_gc(commands)
    words = "Refill an endpoint that was wiped, swapped or restored, until it counts."
    refill = commands.add("resync", resync_endpoint, words, examples=("resync store-2",))
    refill.add_argument("endpoint", help="by name")
    refill.add_argument("--anew", action="store_true", help="even if it counts now, as after a restored snapshot")

    words = "Show which endpoint decides commits; with `move`, make it another."
    primary = commands.add("primary", primary_endpoint, words, examples=("primary", "primary move store-2"))
    primary.add_argument("move", nargs="?", choices=["move"], help="have another decide")
    primary.add_argument("endpoint", nargs="?", help="the new primary, by name")

    words = "Have buckets that keep versions show what was first written under each key. Deletions are taken back too."
    status = "1 something stays hidden, for what hides it is locked."
    commands.add("undelete", undelete, words, status=status, examples=("undelete --storage-file backup.json",))
    words = "Keep a manifest and all it reaches from the collector, or list the holds. Without a name it lists."
    keep = commands.add("hold", hold, words, examples=('hold latest:release-mail_triage --reason "audit of 2026"',))
    keep.add_argument("name", nargs="?", help=NAME_HELP)
    keep.add_argument("--reason", metavar="TEXT", help="who wants it kept, and why")
    keep.add_argument("--lift", action="store_true", help="take the hold away")


def _add_scrub(commands: Commands) -> None:
    words = "Look at copies of what the store holds, and mend what is missing or damaged."
    look = commands.add("scrub", scrub, words, status="1 when something stays wrong.", examples=("scrub --all",))
    look.add_argument(
        "--all", action="store_true", help=f"read and hash every copy; default: tonight's 1 of {NIGHTLY_PARTS} parts"
    )
    look.add_argument("--light", action="store_true", help="compare listings only, read nothing")
    look.add_argument("--no-repair", action="store_true", help="name what is wrong and leave it")
    look.add_argument("--rate", type=float, metavar="MB", help="read at most MB megabytes a second")


def _add_gc(commands: Commands) -> None:
    collect = commands.add(
        "gc",
        gc,
        "Say what nothing reaches any more; with --apply, take the next step. That is to list it for deletion, and, "
        "once the grace is over, to delete what is listed.",
        examples=("gc", "gc --apply"),
    )
    collect.add_argument("--apply", action="store_true", help="take the next step; without it nothing is written")
    collect.add_argument(
        "--grace-days", type=float, default=3.0, metavar="D",
        help="before listing, and again before deleting (default %(default)g)",
    )  # fmt: skip
    collect.add_argument(
        "--max-share", type=float, default=0.1, metavar="SHARE",
        help="of the bytes, from 0 to 1, that may go at once (default %(default)g)",
    )  # fmt: skip


def scrub(options: argparse.Namespace) -> Answer:
    """Scrub once and return the report."""
    parts = PARTS if options.all else 0 if options.light else NIGHTLY_PARTS
    rate = options.rate * 1e6 if options.rate is not None else None
    spec = ScrubSpec(deep_parts=parts, bytes_per_second=rate, repair=not options.no_repair)
    with opened(store_settings(options)) as store, shown_progress("scrub", "copies") as progress:
        done = scrub_storage(store, spec, progress)
    document = {"manifest": done.manifest, **summary(done.report)}
    return Answer(document=document, lines=_scrub_lines(done.report), is_good=done.report.is_clean)


def _scrub_lines(report: Report) -> tuple[Any, ...]:
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(report.flaws.items()) if count) or "nothing wrong"
    lines: list[Any] = [
        f"{report.keys:,} keys ({report.bytes:,} bytes) on {', '.join(report.endpoints)}; {report.read_copies:,} "
        f"copies ({report.read_bytes:,} bytes) read and hashed: {found}, {report.repaired} mended"
    ]
    lines += [
        Text(f"{name} is away or does not count: bring it back, or resync it", style="red") for name in report.strangers
    ]
    lines += [Text(f"{flaw.key}: {flaw.kind} at {flaw.endpoint}, not mended", style="red") for flaw in report.left]
    lines += [Text(f"{flaw.key}: no good copy; restore it from a backup", style="red") for flaw in report.lost]
    return tuple(lines)


def gc(options: argparse.Namespace) -> Answer:
    """Plan a collection, or take its next step."""
    spec = CollectSpec(grace_seconds=options.grace_days * 86400, max_share=options.max_share)
    with opened(store_settings(options)) as store:
        collector = Collector(store, spec, needs=_needed_by_backups) if options.backup_store else Collector(store, spec)
        if not options.apply:
            plan, words = collector.plan(), "would be listed for deletion (this was a dry run; --apply lists them)"
        elif (plan := collector.sweep()).is_listless:
            plan, words = collector.mark(), "are listed; run this again after the grace to delete them"
        else:
            words = "were deleted"
        if options.apply and not plan.waits_for:
            note_change(store, "collect garbage", f"{len(plan.keys)} keys", f"{plan.bytes} bytes {words}")
    return Answer(document={**plan.document(), "applied": options.apply}, lines=_gc_lines(plan, words))


def _needed_by_backups(backup: Store, progress: Progress) -> Reached:
    return needed(backup, RetentionSpec(), progress)


def _gc_lines(plan: Plan, words: str) -> tuple[Any, ...]:
    if plan.waits_for:
        return (f"nothing deleted yet: {plan.waits_for}",)
    kinds = ", ".join(f"{count} {kind}" for kind, count in plan.by_kind().items()) or "nothing"
    return (f"{kinds}, {plan.bytes:,} of {plan.total_bytes:,} bytes of a copy: {words}", *plan.keys[:20])


def resync_endpoint(options: argparse.Namespace) -> Answer:
    """Refill an endpoint."""
    members = open_members(store_settings(options))
    if (endpoint := members.endpoints.get(options.endpoint)) is not None:
        # Another server may stand in the former one's place: what it can do decides whether it has a vote.
        report = probe(endpoint, rounds=1)
        if not may_be_member(report):
            raise StorageError(f"{options.endpoint}: {'; '.join(report.against(Weight.NO_MEMBER))}. Use another server")
    with shown_progress(f"resync {options.endpoint}", "keys") as progress:
        done = resync(members, options.endpoint, anew=options.anew, progress=progress)
    _note(members, "resync", options.endpoint, f"term {done.record.term}, {done.keys} keys")
    document = {"term": done.record.term, "keys": done.keys, "bytes": done.bytes, "lost": list(done.lost)}
    line = (
        f"{options.endpoint} counts under term {done.record.term}: {done.keys:,} keys ({done.bytes:,} bytes) refilled"
    )
    lost = [
        Text(f"{key}: no other endpoint has a good copy; restore it from a backup", style="red") for key in done.lost
    ]
    return Answer(document=document, lines=(line, *lost), is_good=not done.lost)


def primary_endpoint(options: argparse.Namespace) -> Answer:
    """Show or move the primary."""
    members = open_members(store_settings(options))
    unread: list[str] = []
    if options.move:
        if not options.endpoint:
            raise ValueError("primary move: name the endpoint that is to be the primary")
        record = move_primary(members, options.endpoint)
        with shown_progress("settle", "slots") as progress:
            unread = settle_slots(members, progress)
        _note(members, "move primary", options.endpoint, f"term {record.term}")
    else:
        record = members.read_record()
        members.round.close()
    names = ", ".join(record.names)
    line = f"primary {record.primary}, term {record.term}; members {names}, {record.acknowledge} acknowledge"
    left = [
        Text(f"{slot} could not be read: run `nightshift primary move {record.primary}` again", style="red")
        for slot in unread
    ]
    return Answer(
        document={"primary": record.primary, "term": record.term, "members": list(record.names), "unread": unread},
        lines=(line, *left),
        is_good=not unread,
    )


def undelete(options: argparse.Namespace) -> Answer:
    """Take away what was put over keys that are written once, deletions too, on every endpoint that keeps versions."""
    members = open_members(store_settings(options))
    try:
        endpoints = [one for one in members.endpoints.values() if isinstance(one, Versioned)]
        if not endpoints:
            raise WrongUse("no endpoint of this store is a bucket: a folder keeps no versions")
        found = {one.name: show_first_versions(one) for one in endpoints}
    finally:
        members.round.close()
    lines = [f"{name}: {one.keys} keys show again what was first written there" for name, one in found.items()]
    left = [
        f"{name}: {key} stays as it is, for what hides it is locked" for name, one in found.items() for key in one.left
    ]
    document = {name: dataclasses.asdict(one) for name, one in found.items()}
    return Answer(document=document, lines=(*lines, *left), is_good=not left)


def hold(options: argparse.Namespace) -> Answer:
    """List, place or lift holds."""
    with opened(store_settings(options)) as store:
        if options.name and options.lift:
            digest = resolve(store, options.name)
            if lift_hold(store.membership, store.record, digest):
                note_change(store, "lift hold", digest)
        elif options.name:
            digest = resolve(store, options.name)
            store.manifest(digest)
            place_hold(store.membership, store.record, Hold(manifest=digest, reason=options.reason or ""))
            note_change(store, "place hold", digest, options.reason)
        holds = held(store.membership, store.record)
    lines = tuple(f"{item.manifest}  {item.reason}" for item in holds) or ("no holds",)
    return Answer(document=[{"manifest": item.manifest, "reason": item.reason} for item in holds], lines=lines)


def _note(members: Membership, action: str, subject: str, detail: str) -> None:
    """Have a change of the members on the trail, and let them go."""
    store = Store(members)
    note_change(store, action, subject, detail)
    store.close()
