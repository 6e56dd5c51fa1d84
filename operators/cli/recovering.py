"""Commands about recovery: recovery-key, drill, and the restore with a kit."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operators.cli.answer import Answer, WrongUse
from operators.cli.commands import Commands
from operators.cli.files import kit_in, storage_in
from operators.cli.places import opened, platform_layout, shown_progress, store_settings
from operators.core.recovery.spec import DRILL_KEY
from operators.core.settings import StorageSettings

if TYPE_CHECKING:
    from operators.core.recovery.reconcile import Reconciled
    from operators.core.recovery.restore_platform import RestoredPlatform
    from operators.local.rebuild import Wish

DATABASE = "database"
"""What `--only` names for Airflow's PostgreSQL without the store."""


def add_commands(commands: Commands) -> None:
    """Add this module's commands to the parser."""
    key = commands.add(
        "recovery-key",
        recovery_key,
        "Make a key that opens this platform's next backups, or list the keys. The kit with its private half goes to "
        "FILE, which you keep elsewhere; this platform keeps the public half alone.",
        status="without FILE, 1 when nobody but the drill has a key.",
        examples=("recovery-key /media/stick/kit.json",),
        asks_which_store=False,
    )
    key.add_argument("file", nargs="?", metavar="FILE", help="where the kit goes, and nothing is yet")
    drill = commands.add(
        "drill",
        run_drill,
        "Rehearse a recovery. The newest backup is restored into an empty place, verified, asked and measured.",
        status="1 when a target is missed.",
        examples=("drill", "drill --history 10"),
    )
    drill.add_argument("--kit", metavar="FILE", help="a keeper's kit; default: the drill's own")
    drill.add_argument(
        "--rpo-hours", type=float, default=26.0, metavar="H",
        help="the newest backup may be as old (default %(default)g)",
    )  # fmt: skip
    drill.add_argument(
        "--rto-hours", type=float, default=1.0, metavar="H",
        help="the first prediction may take as long (default %(default)g)",
    )  # fmt: skip
    drill.add_argument("--history", type=int, metavar="N", help="run none: list the newest N, and how the RTO goes")


def recovery_key(options: argparse.Namespace) -> Answer:
    """Make a key, or list those that backups are sealed for."""
    from operators.core.recovery.kit import fingerprint
    from operators.local import ports, recovery, seaweedfs
    from operators.local.credentials import load_credentials

    layout = platform_layout()
    if options.file is None:
        keys = {path.stem: path.read_text().strip() for path in sorted(layout.recovery_keys.glob("*.pub"))}
        lines = tuple(f"{name}: {fingerprint(key)}" for name, key in keys.items()) or ("there is none",)
        return Answer(document=keys, lines=lines, is_good=any(name != DRILL_KEY for name in keys))
    credentials = load_credentials(layout)
    backup = seaweedfs.backup_settings(ports.load(layout), credentials)
    kit = recovery.new_kit(layout, backup, credentials, Path(options.file))
    name = fingerprint(kit.public_key)
    lines = (
        f"{options.file} is the kit of recovery key {name}. Put it where this machine's loss does not reach, with "
        "nobody who need not have it: with the backup it opens everything.",
        "Backups from now on are sealed for it too; trigger `back_up_platform` to have one.",
    )
    return Answer(document={"key": name, "file": options.file}, lines=lines)


def restore_with_kit(options: argparse.Namespace) -> Answer:
    """Restore the platform, or one name of it: this machine's, or into the place that the target file names."""
    from operators.cli.databases import restore_alone, started_on
    from operators.local.layout import Layout
    from operators.local.rebuild import Wish, rebuild

    kit = kit_in(options.kit, options.backup_file)
    folder = Path(options.postgresql).absolute() if options.postgresql else None
    if bool(folder) != (options.only == DATABASE) and options.only:
        raise WrongUse(f"--postgresql goes with `--only {DATABASE}`, and that with --postgresql; else leave --only out")
    wish = Wish(kit=kit, at=_moment(options.at), only=options.only, postgresql=folder)
    if options.only == DATABASE:
        digest, agreed = restore_alone(options, wish)
        lines = [*_reconciled_lines(agreed), started_on(wish)]
        return Answer(document={"backup": digest, "reconciled": dataclasses.asdict(agreed)}, lines=tuple(lines))
    started = time.monotonic()
    with shown_progress("restore") as progress:
        if options.target_file:
            restored, reconciled = _into(storage_in(options.target_file), wish, progress)
        else:
            layout = Layout.from_environment(os.environ)
            done = rebuild(layout, os.environ, wish, lambda text: print(text, file=sys.stderr), progress)
            restored, reconciled = done.restored, done.reconciled
    document = {
        **dataclasses.asdict(restored),
        "seconds": round(time.monotonic() - started, 1),
        "reconciled": dataclasses.asdict(reconciled) if reconciled else None,
    }
    lines = [*_restored_lines(restored), *_reconciled_lines(reconciled)]
    if folder:
        lines.append(started_on(wish))
    elif not options.target_file:
        lines.append("next: `make run` starts the platform")
    return Answer(document=document, lines=tuple(lines))


def _moment(text: str | None) -> datetime.datetime | None:
    if text is None:
        return None
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise WrongUse(f"--at {text}: write a time in UTC like 2026-11-22T18:00") from None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _into(target_settings: StorageSettings, wish: Wish, progress: Any) -> tuple[RestoredPlatform, Reconciled | None]:
    from operators.cli.databases import unlocked
    from operators.core.recovery.database_restore import quarantine
    from operators.core.recovery.restore_platform import restore_platform
    from operators.core.storage import initialise

    digest, keys = unlocked(wish)
    initialise(target_settings)
    keyed = dataclasses.replace(target_settings, encryption=target_settings.encryption or keys)
    with opened(dataclasses.replace(wish.kit.backup, encryption=keys)) as backup, opened(keyed) as target:
        server = wish.postgresql and quarantine(backup, digest, wish.postgresql, wish.at, progress)
        done = restore_platform(backup, target, digest, only=wish.only, progress=progress)
        return done, server.switch(target, backup) if server else None


def _restored_lines(done: RestoredPlatform) -> list[str]:
    lines = [
        f"the platform of {done.at} is back: {done.results} results, {done.streams} streams, "
        f"{done.manifests} manifests and {done.objects} objects, {done.size_bytes:,} bytes, all verified; "
        f"{done.written} pieces ({done.written_bytes:,} bytes) were new here",
    ]
    if done.younger:
        lines.append(f"{len(done.younger)} results were computed anew since that backup, and stay as they are here")
    if done.erased_rows:
        lines.append(
            f"{done.erased_rows} rows are on record as erased; `nightshift forget --pending` says whether this backup, "
            "if it is older than that, brought some back, and which run leaves them out"
        )
    return lines


def _reconciled_lines(done: Reconciled | None) -> list[str]:
    if done is None:
        return []
    lines = [
        f"Airflow: {done.adopted} results that no run of its database names will be found by the run that needs them"
    ]
    lines += [f"cleared, for it ran at the cut: {name}" for name in done.cleared]
    lines += [f"its run is marked failed, for it names what the store does not hold: {name}" for name in done.dangling]
    return lines


def run_drill(options: argparse.Namespace) -> Answer:
    """Drill once, with the drill's kit or a keeper's; or tell of those that were."""
    if options.history is not None:
        return _history(options)
    from operators.cli.places import recipes, serving_settings
    from operators.core.recovery.spec import DrillSpec
    from operators.core.scratch import scratch_folder
    from operators.drill import drill

    kit = kit_in(options.kit or platform_layout().drill_kit)
    spec = DrillSpec(rpo_target_seconds=options.rpo_hours * 3600, rto_target_seconds=options.rto_hours * 3600)
    with opened(store_settings(options)) as store, scratch_folder() as folder, shown_progress("drill") as progress:
        record = drill(store, kit, folder, spec, recipes=recipes(None), serving=serving_settings(), progress=progress)
    facts = record.facts
    verdict = "all targets met" if facts["targets_met"] else "; ".join(facts["missed"])
    lines = [f"drill {record.digest[:12]}: {verdict}"]
    if "rto_seconds" in facts:
        lines.append(
            f"RPO {facts['rpo_seconds']:,.0f} s, RTO {facts['rto_seconds']:,.1f} s; "
            f"{facts['verified_objects']:,} objects ({facts['verified_bytes']:,} bytes) read back, "
            f"{facts['compared_predictions']} predictions compared"
        )
        lines.append(_retrained_line(facts))
    return Answer(document={"digest": record.digest, **facts}, lines=tuple(lines), is_good=bool(facts["targets_met"]))


def _history(options: argparse.Namespace) -> Answer:
    """Return the newest drills, oldest first; 1 where the last one missed a target, or there was none."""
    from operators.core.recovery.drill import past_drills

    if options.history < 1:
        raise WrongUse(f"--history {options.history}: how many drills, 1 or more")
    with opened(store_settings(options)) as store:
        drills = past_drills(store, options.history)
    rtos = [one["rto_seconds"] for one in drills if "rto_seconds" in one]
    lines = [_drill_line(one) for one in drills] or ["there was no drill yet"]
    if len(rtos) > 1:
        usual = statistics.median(rtos[:-1])
        lines.append(f"the last RTO is {rtos[-1] / usual:.2f} times the median of the {len(rtos) - 1} before it")
    return Answer(document=drills, lines=tuple(lines), is_good=bool(drills and drills[-1]["targets_met"]))


def _drill_line(facts: Mapping[str, Any]) -> str:
    verdict = "targets met" if facts["targets_met"] else "; ".join(facts["missed"])
    if "rto_seconds" not in facts:
        return f"{facts['at'][:19]}  {verdict}"
    gigabytes = facts["verified_bytes"] / 1e9
    figures = f"RPO {facts['rpo_seconds']:,.0f} s  RTO {facts['rto_seconds']:,.1f} s  {gigabytes:.2f} GB"
    return f"{facts['at'][:19]}  {figures}  {verdict}"


def _retrained_line(facts: Mapping[str, Any]) -> str:
    if error := facts.get("retraining_error"):
        return f"what was restored does not train: {error}"
    if facts["retrained_steps"]:
        return (
            f"{facts['retrained_steps']} steps trained again: their losses differ by "
            f"{facts['retraining_difference']:.2%} of the first one's"
        )
    return f"nothing was trained again: {facts.get('retraining_skipped', 'nothing that was trained is live')}"
