"""The command that finds out what endpoints can do: probe."""

from __future__ import annotations

import argparse
from dataclasses import replace

from rich.table import Table
from rich.text import Text

from operators.cli.answer import Answer, WrongUse
from operators.cli.commands import Commands
from operators.cli.places import store_settings
from operators.core.settings import StorageSettings
from operators.core.storage.checks import Weight
from operators.core.storage.probe import ProbeReport, may_be_member, may_be_primary, probe_all, refusals

_WORDS = (
    "Find out what each endpoint can really do. That is: conditional puts under a race, read after write, listings, "
    "checksums, odd keys, clock, speed. All happens in a scratch prefix that is empty afterwards; the report is kept "
    "at the endpoint as probe.json. An endpoint whose conditional puts let two writers win may be a member, never the "
    "primary; one that forgets, invents, or whose clock is more than 300 s off may be neither."
)
_ROWS = {
    "put_ms": "put, ms",
    "get_ms": "get, ms",
    "list_ms": "list, ms",
    "write_mib_per_second": "write, MiB/s",
    "read_mib_per_second": "read, MiB/s",
    "clock_offset_seconds": "clock ahead, s",
}
_TRAITS = {"server": "server", "versioning": "versions", "object_lock": "object lock"}


def add_commands(commands: Commands) -> None:
    """Add this module's command to the parser."""
    parser = commands.add(
        "probe",
        probe,
        _WORDS,
        status="1 when one may not be what it is, or does not answer.",
        examples=("probe", "probe site-b --storage-file store.json"),
    )
    parser.add_argument("endpoint", nargs="*", help="names of endpoints; default: all of the store")
    parser.add_argument(
        "--rounds", type=_count, default=10, metavar="N", help="races and re-readings of each (default %(default)s)"
    )


def probe(options: argparse.Namespace) -> Answer:
    """Return what the probes found."""
    settings = _chosen(store_settings(options), options.endpoint)
    reports, primary = probe_all(settings, rounds=options.rounds)
    refused = refusals(reports, primary)
    notes = [
        Text(f"{report.endpoint}: {words}", style="yellow")
        for report in reports
        for words in report.against(Weight.NOTE, Weight.NO_PRIMARY)
    ]
    document = {"primary": primary, "refused": refused, "endpoints": [report.document() for report in reports]}
    complaints = [Text(line, style="red") for line in refused]
    return Answer(document=document, lines=(_table(reports, primary), *notes, *complaints), is_good=not refused)


def _table(reports: list[ProbeReport], primary: str | None) -> Table:
    table = Table("", *(report.endpoint for report in reports))
    table.add_row("may be", *(_verdict(report, primary) for report in reports))
    for name, words in _ROWS.items():
        table.add_row(words, *(f"{report.figures[name]:g}" if name in report.figures else "" for report in reports))
    for name, words in _TRAITS.items():
        table.add_row(words, *(report.traits.get(name, "") for report in reports))
    return table


def _verdict(report: ProbeReport, primary: str | None) -> str:
    may = "primary" if may_be_primary(report) else "member" if may_be_member(report) else "nothing"
    return f"{may} (is primary)" if report.endpoint == primary else may


def _chosen(settings: StorageSettings, names: list[str]) -> StorageSettings:
    """Return the settings with only these endpoints.

    Raises:
        WrongUse: A name is not in the store.
    """
    known = {item.name: item for item in settings.endpoints}
    if missing := sorted(set(names) - set(known)):
        raise WrongUse(f"no endpoint {', '.join(missing)} in the store; it has {', '.join(known)}")
    if not names:
        return settings
    return replace(settings, endpoints=tuple(known[name] for name in dict.fromkeys(names)), acknowledge=len(set(names)))


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} rounds: at least 1")
    return number
