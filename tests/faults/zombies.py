"""Stops a writer at every boundary of a commit, lets the world go on without it, and wakes it up again.

`python -m tests.faults.zombies FOLDER`: for each k, a child stops itself right before its effect k. Meanwhile the
primary is moved and a rival commits to the same run key and stream. Then the child goes on, under a record that no
longer rules. It may be refused, or told the rival's value; where it was acknowledged, the rival must have been told the
same.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from operators.core.errors import NightshiftError
from operators.core.manifest import Made, sha256_hex
from operators.core.storage import Store
from operators.core.storage.primary import move_primary
from tests.faults.boundaries import CALL, at_effect, members, template


def write(folder: Path, seed: int, content: bytes) -> str:
    """Commit a result and append an entry; return what was told, or the name of the refusal."""
    try:
        store = Store(members(folder, seed))
        result = store.once(CALL, lambda: Made(files=(store.put_bytes("a.bin", content),)))
        first = store.stream("release-x").entries()[0]
        return f"{result.digest} {store.stream('release-x').append(sha256_hex(content), first).manifest}"
    except NightshiftError as error:
        return type(error).__name__


def zombie(folder: Path, boundary: int, told: Path) -> int:
    """Start a writer that stops itself at a boundary; return its process id once it has stopped or ended."""
    child = os.fork()
    if child == 0:
        try:
            at_effect(boundary, folder, lambda: os.kill(os.getpid(), signal.SIGSTOP))
            told.write_text(write(folder, 2, b"the zombie's"))
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return child


def one(folder: Path, boundary: int, meanwhile: Callable[[], str]) -> tuple[bool, str, str, str]:
    """Return whether the writer was stopped, what it was told, what the rival was told, and what stands."""
    told = folder / "+told"
    child = zombie(folder, boundary, told)
    _, status = os.waitpid(child, os.WUNTRACED)
    stopped = os.WIFSTOPPED(status)
    rival = meanwhile() if stopped else write(folder, 3, b"a rival's")
    if stopped:
        os.kill(child, signal.SIGCONT)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"boundary {boundary}: the writer ended with {status}"
    return stopped, told.read_text(), rival, write(folder, 4, b"one who comes last")


def run(place: Path) -> dict[str, object]:
    """Try every boundary; return how many there are, what writers were told, and what went wrong."""
    template(place / "start", "commit")
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    boundary = 0
    while True:
        boundary += 1
        folder = place / f"k{boundary}"
        shutil.copytree(place / "start", folder)

        def meanwhile() -> str:
            move_primary(members(folder, 5), "site_c")  # noqa: B023
            return write(folder, 3, b"a rival's")  # noqa: B023

        stopped, zombies, rival, stands = one(folder, boundary, meanwhile)
        refused = " " not in zombies
        outcomes[zombies if refused else "survived"] += stopped
        if " " not in rival or " " not in stands or rival != stands or (not refused and zombies != stands):
            wrong.append(f"boundary {boundary}: the zombie was told {zombies}, the rival {rival}, and {stands} stands")
        shutil.rmtree(folder)
        if not stopped:
            return {"boundaries": boundary - 1, "outcomes": outcomes, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]))))
