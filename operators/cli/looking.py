"""Commands that look: status, ls, show."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections import Counter
from typing import Any

from rich.table import Table
from rich.text import Text

from operators.cli.answer import Answer, WrongUse
from operators.cli.commands import Commands
from operators.cli.names import NAME_HELP, resolve
from operators.cli.places import opened, store_settings
from operators.core.manifest import DIGEST_PATTERN, Manifest
from operators.core.storage import Store
from operators.core.storage.graph import closure
from operators.core.storage.listing import manifest_digests, stream_names


def add_commands(commands: Commands) -> None:
    """Add this module's commands to the parser."""
    words = "Say which services of this machine are up, and whether the data is safe."
    commands.add("status", status, words, status="1 when a service is down.", asks_which_store=False)
    ls = commands.add(
        "ls",
        list_things,
        "List the stages' manifests, the streams, or the entries of one stream.",
        examples=("ls streams", "ls stream release-mail_triage", "ls stages evaluate"),
    )
    ls.add_argument("what", choices=["stages", "streams", "stream"], help="what to list")
    ls.add_argument("name", nargs="?", help="the stream, for `ls stream`; one stage, for `ls stages`")
    words = "Print a manifest: its files, what it was made from, its spec and its facts."
    shown = commands.add("show", show, words, examples=("show latest:release-mail_triage",))
    shown.add_argument("name", help=NAME_HELP)


def status(options: argparse.Namespace) -> Answer:
    """Return the state of every service."""
    from operators.local.layout import Layout
    from operators.local.status import notes
    from operators.local.status import status as read_status

    document = read_status(Layout.from_environment(os.environ))
    table = Table("service", "state", "address")
    for item in document["services"]:
        table.add_row(item["name"], item["state"], item["url"] or "")
    ui = document["ui"]
    is_up = all(item["state"] == "up" for item in document["services"])
    address = f"UI {ui['url']}, user {ui['user']}"
    problems = (document["safety"] or {}).get("problems", ())
    told = (Text(note, style="red") if note in problems else note for note in notes(document))
    return Answer(document=document, lines=(table, address, *told), is_good=is_up)


def list_things(options: argparse.Namespace) -> Answer:
    """Return a listing."""
    if (options.what == "stream") != bool(options.name) and options.what != "stages":
        raise WrongUse("`ls stream NAME` needs a name, `ls streams` takes none")
    with opened(store_settings(options)) as store:
        if options.what == "stages":
            return _stages(store, options.name)
        return _stream(store, options.name) if options.name else _streams(store)


def _stages(store: Store, stage: str | None) -> Answer:
    manifests = closure(store, manifest_digests(store))
    if stage is None:
        counts = Counter(manifest.stage for manifest in manifests.values())
        return _table([{"stage": name, "manifests": number} for name, number in sorted(counts.items())])
    named = {digest: manifest for digest, manifest in manifests.items() if manifest.stage == stage}
    return _table([{"digest": digest, "facts": _short(manifest)} for digest, manifest in named.items()])


def _streams(store: Store) -> Answer:
    heads = [store.stream(name).head() for name in stream_names(store)]
    return _table(
        [{"stream": head.stream, "entries": head.generation + 1, "newest": head.manifest} for head in heads if head]
    )


def _stream(store: Store, name: str) -> Answer:
    entries = store.stream(name).entries()
    if not entries:
        raise WrongUse(f"stream {name!r} has no entries here; see `ls streams`, for backups with --backup-store")
    return _table([{"generation": entry.generation, "manifest": entry.manifest} for entry in entries])


def _table(rows: list[dict[str, Any]]) -> Answer:
    table = Table(*(rows[0] if rows else ["nothing"]))
    for row in rows:
        table.add_row(*(Text(_cell(value), overflow="fold") for value in row.values()))
    return Answer(document=rows, lines=(table,))


def _cell(value: object) -> str:
    """Return what a table shows: of a digest as many digits as name it, so that a line holds it."""
    text = str(value)
    return text[:12] if re.fullmatch(DIGEST_PATTERN, text) else text


def _short(manifest: Manifest) -> str:
    """Return a manifest's plain facts in one line."""
    plain = {key: value for key, value in manifest.facts.items() if isinstance(value, str | int | float)}
    return " ".join(f"{key}={value}" for key, value in plain.items())[:120]


def show(options: argparse.Namespace) -> Answer:
    """Return a manifest as it is stored, with its digest and identity."""
    with opened(store_settings(options)) as store:
        digest = resolve(store, options.name)
        manifest = store.manifest(digest)
        document = {"digest": digest, "identity": manifest.identity, **json.loads(manifest.encode())}
        document["accounts"] = store.accounts(manifest.run_key)
    return Answer(document=document, lines=(json.dumps(document, indent=1, ensure_ascii=False),))
