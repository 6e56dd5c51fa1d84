"""Become one service of the platform: `python -m operators.local.service NAME [ENVIRONMENT_FILE] -- COMMAND...`.

A killed Airflow scheduler leaves its workers behind, waiting on a queue that nobody fills or running tasks that nobody
waits for. Before a service starts again, what its former process left is ended. Only Airflow's own processes are: a
launcher that a task started belongs to that task's next try, which adopts or ends it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import psutil

from operators.local.airflow import read_environment
from operators.local.layout import Layout


def left_behind(group: int) -> list[psutil.Process]:
    """Return Airflow's processes in a process group; its workers and task runners call themselves `airflow worker`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if process.pid != os.getpid() and os.getpgid(process.pid) == group and _is_airflow(process.cmdline()):
                found.append(process)
    return found


def _is_airflow(arguments: list[str]) -> bool:
    # A title set by setproctitle comes as one argument, the commands themselves as `python .../bin/airflow triggerer`
    # and `python -m operators.local.scheduler`.
    command = " ".join(arguments[:3])
    return command.startswith("airflow ") or "/bin/airflow" in command or "operators.local.scheduler" in command


def end_former(record: Path) -> None:
    """End what the recorded process group still holds, then record this one. A service's group has its process's id."""
    if record.exists():
        for process in left_behind(int(record.read_text())):
            with contextlib.suppress(psutil.Error):
                process.kill()
    record.write_text(str(os.getpgid(0)))


def main(arguments: list[str]) -> None:
    """Replace this process by the command."""
    split = arguments.index("--")
    name, files, command = arguments[0], arguments[1:split], arguments[split + 1 :]
    end_former(Layout.from_environment(os.environ).run / f"{name}.group")
    variables = {key: value for file in files for key, value in read_environment(Path(file)).items()}
    os.execve(command[0], command, {**os.environ, **variables})  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
