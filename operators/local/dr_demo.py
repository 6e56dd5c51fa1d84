"""`make dr-demo`: loses the database, two days of data and the live model in front of you, and brings them back.

By default on a platform of its own, in `dr-demo/` of the state's folder, on ports of its own and a slice of the corpus,
which is made first if it is not there; `--own-platform` takes the platform of this checkout, once you typed its word.
Interrupted anywhere, the same command goes on: what is to be lost is written down before the first byte goes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from operators.core import progress as core
from operators.core.errors import NightshiftError
from operators.core.recovery.kit import RecoveryKit
from operators.core.storage import open_store
from operators.local import inputs, losing, ports
from operators.local.display import Display
from operators.local.dr_report import Recovery, lost_lines, summary_lines
from operators.local.job import RECIPES
from operators.local.layout import HOME_VARIABLE, REPOSITORY, Layout, PlatformError
from operators.local.losing import Record
from operators.local.predict import predict_here
from operators.local.rebuild import Wish, rebuild
from operators.local.run import DEFAULT_DAY, INTERRUPTED
from operators.local.services import DEFAULT_RECIPE
from operators.local.stop import stop
from operators.local.up import Platform, up
from operators.local.watch import RunWatch
from operators.recipes import load_recipe

WORD = "destroy"
_DAYS = ("2002-09-22", "2002-09-23", "2002-09-24", "2002-09-25", DEFAULT_DAY)
_SLICE = {"days": _DAYS, "mails_a_day": 60}
_PARAMS = {"window_days": len(_DAYS), "quality_floor": 0.5, "max_length": 64}
"""A few hundred mails: the demo shows a recovery, not a model."""
_ANSWER_SECONDS = 120.0


class Demo:
    """One demonstration, on one platform."""

    def __init__(self, layout: Layout, environment: Mapping[str, str], console: Console, *, is_own: bool) -> None:
        self.layout, self.environment, self.console, self.is_own = layout, dict(environment), console, is_own
        self.environment[HOME_VARIABLE] = str(layout.home)
        if not is_own:
            recorded = ports.recorded(layout)
            # The kit says where the backup store is: on the port that it had.
            base = str(recorded["airflow"] if recorded else ports.free_base(os.getpid()))
            self.environment |= {ports.BASE_VARIABLE: base, inputs.SLICE_VARIABLE: json.dumps(_SLICE)}
        self.recipe = load_recipe(RECIPES / f"{DEFAULT_RECIPE}.py")

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def run(self, is_agreed: bool) -> int:
        """Do all of it, or what is left of it; return the exit status."""
        record = Record.load(self.layout)
        if record is None:
            if not (is_agreed or self._agrees()):
                self.say("nothing was touched")
                return 2
            record = self._lose()
        else:
            self.say("a demo was interrupted after it began to lose: going on with the recovery")
        found = self._recover(record)
        record.drop(self.layout)
        return self._summarise(record, found)

    def _agrees(self) -> bool:
        word = WORD if self.is_own else "yes"
        place = "THIS CHECKOUT'S PLATFORM" if self.is_own else "a platform made for this demo"
        self.say(
            f"This deletes Airflow's database, {losing.DAYS} days of data on every endpoint and the released model of "
            f"{place}, in {self.layout.home}, and brings them back from its backup."
        )
        if not sys.stdin.isatty():
            raise PlatformError(f"nobody is there to type {word!r}" + ("" if self.is_own else ": say YES=1"))
        return input(f"Type {word} to go on: ").strip() == word

    # The loss ----------------------------------------------------------------------------------------------------

    def _lose(self) -> Record:
        if not self.is_own:
            self._make_platform()
        platform = up(self.layout, self.environment, self.say)
        self._back_up(platform)
        with closing(open_store(platform.storage)) as store:
            loss = losing.plan_loss(store, self.layout, DEFAULT_RECIPE)
            record = Record(loss=loss, answers=self._ask(loss.version))
            record.save(self.layout)
            before = losing.count_copies(store, loss)
            losing.lose_objects(store, loss)
            after = losing.count_copies(store, loss)
        stop(self.layout)
        losing.lose_local(self.layout)
        for line in lost_lines(loss, before, after):
            self.say(line)
        return record

    def _make_platform(self) -> None:
        """Have a platform of the demo's own, in which the main job has run."""
        self.layout.make()
        shared = self.layout.home.parent / "downloads"
        if shared.is_dir() and not any(self.layout.downloads.iterdir()):
            self.layout.downloads.rmdir()
            self.layout.downloads.symlink_to(shared)
        params = [f"--param={name}={value}" for name, value in _PARAMS.items()]
        command = [sys.executable, "-m", "operators.local.run", "--recipe", DEFAULT_RECIPE, "--day", DEFAULT_DAY]
        self.say(f"the main job first, on a platform in {self.layout.home}")
        if subprocess.run([*command, *params], env=self.environment, check=False, cwd=REPOSITORY).returncode:
            raise PlatformError("the main job did not succeed: see above; nothing was lost")

    def _back_up(self, platform: Platform) -> None:
        rest, dag_id = platform.rest, "back_up_platform"
        run_id = str(rest.trigger(dag_id, {})["dag_run_id"])
        with Display(self.console, f"{dag_id}, before anything is lost") as display:
            state = RunWatch(rest, dag_id, run_id).follow(display.show)
        if state != "success":
            raise PlatformError(f"the backup failed ({run_id}): nothing was lost; see its log in the UI")

    # The recovery ------------------------------------------------------------------------------------------------

    def _recover(self, record: Record) -> Recovery:
        # Left over where a former try was interrupted once the platform was up again.
        stop(self.layout)
        self.say(f"restoring now: nightshift restore --kit {self.layout.drill_kit}")
        kit = RecoveryKit.from_json(self.layout.drill_kit.read_text())
        started = time.monotonic()
        with self._counter() as progress:
            rebuilt = rebuild(self.layout, self.environment, Wish(kit=kit), self.say, progress)
        restored = time.monotonic() - started
        dag_runs = losing.count_dag_runs(self.layout.airflow_database)
        # The servers answer before all of Airflow is up. A daemon: Ctrl-C does not wait for it.
        asked: Future[tuple[list[list[str]], float]] = Future()
        threading.Thread(target=self._first_answers, args=(started, record.loss.version, asked), daemon=True).start()
        platform = up(self.layout, self.environment, self.say)
        answers, rto = asked.result()
        with closing(open_store(platform.storage)) as store:
            left = losing.count_copies(store, record.loss)
        if left < len(record.loss.objects) * platform.storage.acknowledge:
            raise PlatformError(f"only {left} copies came back: `nightshift scrub --all` says what is missing")
        return Recovery(
            rebuilt=rebuilt,
            restore_seconds=restored,
            rto_seconds=rto,
            answers=answers,
            version=record.loss.version,
            dag_runs=dag_runs,
        )

    @contextmanager
    def _counter(self) -> Iterator[core.Progress]:
        """Show how much is checked and how much is back, live."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as bars:
            known: dict[str, Any] = {}

            def tell(done: int, total: int, note: str) -> None:
                if note.startswith("bytes"):
                    name = "checked in the backup" if "read" in note else "back in the store"
                    if name not in known:
                        known[name] = bars.add_task(f"{name:<22}", total=total)
                    bars.update(known[name], completed=done)

            yield tell

    def _first_answers(self, started: float, version: str, asked: Future[tuple[list[list[str]], float]]) -> None:
        """Ask until there are answers; hand them on with the seconds since a moment of the monotonic clock."""
        try:
            answers = self._ask(version)
        except Exception as error:  # whatever it is: who waits for an answer must hear of it
            asked.set_exception(error)
            return
        seconds = time.monotonic() - started
        self.say(f"answered: the first prediction, {seconds:.1f} s after the restore began")
        asked.set_result((answers, seconds))

    def _ask(self, version: str) -> list[list[str]]:
        found = predict_here(self.layout, self.recipe, timeout_seconds=_ANSWER_SECONDS)
        if others := {one["version"] for one in found} - {version}:
            raise PlatformError(f"{', '.join(others)} answers, {version} is the released model: wait for the rollout")
        return [[one["text"], one["label"]] for one in found]

    def _summarise(self, record: Record, found: Recovery) -> int:
        same = record.answers == found.answers
        for line in summary_lines(record.loss, found, same=same):
            self.say(line)
        home = "" if self.is_own else f"NIGHTSHIFT_HOME={self.layout.home} "
        self.say(f"the platform is up: `{home}make status`; `{home}make stop` ends it")
        return 0 if same and found.dag_runs else 1


def main(arguments: Sequence[str]) -> int:
    """Demonstrate; every expected problem is one message, not a traceback."""
    parser = argparse.ArgumentParser(prog="make dr-demo", description=__doc__)
    parser.add_argument("--yes", action="store_true", help="do not ask; counts for the demo's own platform only")
    parser.add_argument("--own-platform", action="store_true", help="on this checkout's platform")
    options = parser.parse_args(arguments)
    console = Console()
    own = Layout.from_environment(os.environ)
    try:
        layout = own if options.own_platform else own.demo
        demo = Demo(layout, os.environ, console, is_own=options.own_platform)
        return demo.run(is_agreed=options.yes and not options.own_platform)
    except KeyboardInterrupt:
        console.print("\ninterrupted: the same command goes on from here, also where things are lost now")
        return INTERRUPTED
    except (PlatformError, NightshiftError) as error:
        console.print(f"make dr-demo: {error}", markup=False, highlight=False, soft_wrap=True)
        return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
