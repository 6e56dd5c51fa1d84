"""A real platform lost and brought back: before the eyes of a user, interrupted, and on a machine that has nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from operators.local import losing, ports
from operators.local.layout import HOME_VARIABLE, REPOSITORY
from operators.local.rebuild import _running
from operators.local.stop import stop
from tests.e2e.bed import Bed

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]

RTO_SECONDS = 180.0
QUESTION = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["free money"]}]}


class Watched:
    """A command whose lines are dated as they come, by a stopwatch that is not its own."""

    def __init__(self, *arguments: str, environment: dict[str, str]) -> None:
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", *arguments],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY,
            # Whoever runs the tests in the background has it ignored, and so would what is started here.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        self.lines: list[tuple[float, str]] = []

    def until(self, words: str) -> float:
        """Read on to the line that begins so; return when it came."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append((time.monotonic(), line.rstrip()))
            if line.startswith(words):
                return self.lines[-1][0]
        raise AssertionError(f"{words!r} never came:\n{self.text}")

    def interrupt(self) -> int:
        """Have it hear Ctrl-C; return its exit status."""
        self._process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> int:
        """Read on to the end; return the exit status."""
        with self._process:
            assert self._process.stdout is not None
            self.lines += [(time.monotonic(), line.rstrip()) for line in self._process.stdout]
        return self._process.returncode

    @property
    def text(self) -> str:
        """What it said so far."""
        return "\n".join(line for _, line in self.lines)

    def figure(self, before: str, after: str) -> float:
        """Return the number that it printed between some words."""
        # A set: Ctrl-C within a print has rich print that line again.
        (line,) = {line for _, line in self.lines if before in line and after in line}
        return float(line.split(after)[0].split()[-1])


@pytest.fixture(scope="module")
def shown(make_bed: Callable[[], Bed]) -> Iterator[Bed]:
    """A home below which the demo makes its platform."""
    bed = make_bed()
    yield bed
    stop(bed.layout.demo)


def demonstrate(bed: Bed) -> Watched:
    """Start `make dr-demo YES=1`."""
    return Watched("operators.local.dr_demo", "--yes", environment=bed.environment())


def test_the_demo_brings_everything_back_in_the_time_that_it_prints(shown: Bed) -> None:
    """Lost on every endpoint, back with the same answers; its figure and a stopwatch agree within a tenth."""
    demo = demonstrate(shown)
    began = demo.until("restoring now")
    answered = demo.until("answered")
    status = demo.end()

    assert status == 0, demo.text
    assert ", 0 are left" in demo.text and "the same as before" in demo.text
    printed = demo.figure("RTO", " s from")
    assert printed == pytest.approx(answered - began, rel=0.1)
    assert printed < RTO_SECONDS


def test_an_interrupted_demo_goes_on(shown: Bed) -> None:
    """Ctrl-C while everything is lost: the platform does not start half restored; the same command ends it well."""
    demo = demonstrate(shown)
    demo.until("restoring the backup of")
    assert demo.interrupt() == 130
    assert "the same command goes on" in demo.text
    assert losing.Record.load(shown.layout.demo) is not None

    again = demonstrate(shown)
    assert again.end() == 0, again.text
    assert "going on with the recovery" in again.text and "the same as before" in again.text
    assert losing.Record.load(shown.layout.demo) is None


def wait_for_answer(balancer: str, deadline: float) -> tuple[float, dict[str, Any]]:
    """Return when the first prediction was answered, and the answer."""
    while time.monotonic() < deadline:
        try:
            answer = httpx.post(f"{balancer}/v2/models/mail_triage/infer", json=QUESTION, timeout=5, trust_env=False)
            if answer.status_code == 200:
                return time.monotonic(), answer.json()
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("no prediction was answered")


def test_a_bare_machine_answers_in_the_time_that_is_printed(shown: Bed, make_bed: Callable[[], Bed]) -> None:
    """The backup store and a keeper's kit alone: restore, start, and the released model answers within minutes."""
    layout, bare = shown.layout.demo, make_bed()
    environment = {**shown.environment(), HOME_VARIABLE: str(layout.home)}
    released = httpx.post(
        f"http://127.0.0.1:{ports.load(layout)['balancer']}/v2/models/mail_triage/infer", json=QUESTION, trust_env=False
    ).json()
    kit = bare.home.with_name(f"{bare.home.name}.kit")
    subprocess.run([sys.executable, "-m", "operators.cli", "recovery-key", str(kit)], env=environment, check=True)
    back_up(layout.home, environment)
    stop(layout)
    try:
        with _running(layout, ports.load(layout), environment, ["backup-store"]):
            restore = Watched("operators.cli", "restore", "--kit", str(kit), environment=bare.environment())
            assert restore.end() == 0, restore.text
            run = Watched("operators.local.run", "--day", "2002-09-26", environment=bare.environment())
            balancer = f"http://127.0.0.1:{ports.wanted_ports(bare.environment())['balancer']}"
            answered, answer = wait_for_answer(balancer, restore.began + 600)
            run.until("the model servers were empty")
            run.interrupt()
    finally:
        kit.unlink()
    measured, printed = answered - restore.began, run.figure("the model servers were empty", " s after")

    assert answer["model_version"] == released["model_version"]
    assert answer["outputs"] == released["outputs"]
    assert printed == pytest.approx(measured, rel=0.1)
    assert measured < RTO_SECONDS


def back_up(home: Path, environment: dict[str, str]) -> None:
    """Have a platform that is up backed up, its secrets sealed for the keys that there are now."""
    bed = Bed(home=home, base=ports.load(Bed(home=home, base=0).layout)["airflow"])
    run_id = str(bed.rest.trigger("back_up_platform", {})["dag_run_id"])
    deadline = time.monotonic() + 300
    while (state := bed.rest.run("back_up_platform", run_id)["state"]) not in ("success", "failed"):
        assert time.monotonic() < deadline
        time.sleep(1)
    assert state == "success"
