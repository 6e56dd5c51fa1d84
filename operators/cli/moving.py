"""Commands that make or move: init, get, restore."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from operators.cli.answer import Answer, WrongUse
from operators.cli.auditing import note_change
from operators.cli.commands import Commands
from operators.cli.files import storage_in
from operators.cli.names import NAME_HELP, resolve
from operators.cli.places import backup_settings, opened, shown_progress, store_settings
from operators.cli.recovering import restore_with_kit
from operators.core.storage import initialise


def add_commands(commands: Commands) -> None:
    """Add this module's commands to the parser."""
    words = "Make a store of empty endpoints. One that is made already stays as it is."
    commands.add("init", init, words, examples=("init --storage-file store.json",))
    words = "Put the files of a manifest, each verified, into a folder."
    fetch = commands.add("get", get, words, examples=("get latest:release-mail_triage -o model",))
    fetch.add_argument("name", help=NAME_HELP)
    fetch.add_argument("file", nargs="?", help="one file of it; default: all")
    fetch.add_argument("-o", "--output", metavar="FOLDER", required=True, help="where they go")
    back = commands.add(
        "restore",
        restore,
        "Bring a backup into an empty place. All of it is checked before anything is written. With --kit it is a "
        "backup of the whole platform, else the backup of one release.",
        examples=(
            "restore --kit /media/stick/kit.json",
            "restore --kit /media/stick/kit.json --at 2026-11-22T18:00 --only release-mail_triage",
            "restore latest:backup-mail_triage --target-file place.json",
        ),
    )
    back.add_argument("backup", nargs="?", help="a release's: digest of its manifest, or latest:backup-<recipe>")
    back.add_argument("--kit", metavar="FILE", help="what `nightshift recovery-key` wrote")
    back.add_argument("--at", metavar="TIME", help="with --kit: as it was then, in UTC; default: the newest backup")
    back.add_argument("--only", metavar="NAME", help="with --kit: a stream, a manifest's digest, or `database`")
    back.add_argument(
        "--target-file", metavar="FILE", help="settings of the place; default, with --kit: the platform in ./var"
    )
    back.add_argument("--backup-file", metavar="FILE", help="settings of the backup store; default: the kit's")
    back.add_argument("--postgresql", metavar="FOLDER", help="with --kit: Airflow's PostgreSQL there, where nothing is")
    back.add_argument("--airflow-database", metavar="FILE", help="also put Airflow's database there, where nothing is")


def init(options: argparse.Namespace) -> Answer:
    """Return the members of the store, made now or before."""
    record = initialise(store_settings(options))
    names = [member.name for member in record.members]
    line = f"{len(names)} endpoints ({', '.join(names)}), {record.acknowledge} acknowledge, primary {record.primary}"
    return Answer(document={"term": record.term, "members": names, "primary": record.primary}, lines=(line,))


def get(options: argparse.Namespace) -> Answer:
    """Fetch files; each appears whole or not at all."""
    folder = Path(options.output)
    with opened(store_settings(options)) as store:
        digest = resolve(store, options.name)
        manifest = store.manifest(digest)
        if not manifest.files:
            parts = ", ".join(f"{item.role} {item.manifest[:12]}" for item in manifest.inputs if item.manifest)
            raise WrongUse(f"the {manifest.stage} {digest[:12]} has no files of its own: get what it names, {parts}")
        entries = [manifest.file(options.file)] if options.file else list(manifest.files)
        for entry in entries:
            store.fetch(entry, folder / entry.name)
    document = {"digest": digest, "files": {entry.name: str(folder / entry.name) for entry in entries}}
    return Answer(document=document, lines=tuple(f"{folder / entry.name}  {entry.bytes:,} bytes" for entry in entries))


def restore(options: argparse.Namespace) -> Answer:
    """Restore a backup into the place that the target file names, which is initialised if it is new."""
    if options.kit:
        return restore_with_kit(options)
    if not options.backup or not options.target_file:
        raise WrongUse("give a backup of a release and --target-file, or --kit for the whole platform")
    from operators.core.recovery.restore import restore_release

    target_settings = storage_in(options.target_file)
    database = Path(options.airflow_database).absolute() if options.airflow_database else None
    with opened(backup_settings(options.backup_file)) as backup:
        digest = resolve(backup, options.backup)
        initialise(target_settings)
        with opened(target_settings) as target, shown_progress("restore") as progress:
            done = restore_release(backup, target, digest, database=database, progress=progress)
            if done.written:
                note_change(target, "restore", digest, f"release {done.release}")
    line = (
        f"release {done.release[:12]} is back: {done.manifests} manifests and {done.objects} objects, "
        f"{done.size_bytes:,} bytes, all verified; {done.written} pieces were new here"
    )
    erased = (
        f"{done.erased_rows} rows are on record as erased; `nightshift forget --pending` says whether this backup, if "
        "it is older than that, brought some back, and which run leaves them out"
    )
    return Answer(document=asdict(done), lines=(line, erased) if done.erased_rows else (line,))
