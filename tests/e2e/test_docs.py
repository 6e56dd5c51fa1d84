"""The commands of the docs, typed into a platform after a run as they stand there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from operators.local import airflow, ports
from operators.local.layout import REPOSITORY
from tests.commands import ASK, PAGES, RUN, blocks, plain
from tests.e2e.bed import Bed

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]


def test_the_commands_of_the_docs_do_what_they_say(bed: Bed, first: dict[str, Any], tmp_path: Path) -> None:
    """Each ends with the status that it is said to end with; none is left out."""
    placed, programs = ports.load(bed.layout), Path(sys.executable).parent
    addresses = {
        "http://127.0.0.1:17400": airflow.ui_url(placed),
        "http://127.0.0.1:17401": f"http://127.0.0.1:{placed['balancer']}",
    }
    environment = {**bed.environment(), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    typed, ended = set(), {}
    for command in dict.fromkeys(command for page in PAGES for command in blocks(page)):
        if plain(command) not in RUN and not ASK.fullmatch(command):
            continue
        here = command.replace("/media/stick", str(tmp_path))
        for usual, own in addresses.items():
            here = here.replace(usual, own)
        here = here.replace(".venv/bin/", f"{programs}/").replace("curl ", "curl --fail --silent --noproxy '*' ")
        done = subprocess.run(
            ["bash", "-c", here], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        typed.add(plain(command))
        if done.returncode != RUN.get(plain(command), 0):
            ended[command] = (done.returncode, done.stdout[-400:], done.stderr[-800:])

    assert ended == {}
    assert set(RUN) < typed
