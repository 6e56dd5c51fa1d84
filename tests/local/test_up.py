"""What starting a platform waits for, with a real supervisor."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from operators.local import ports
from operators.local.layout import HOME_VARIABLE, Layout, PlatformError
from operators.local.services import Service
from operators.local.supervisor import Supervisor
from operators.local.waiting import wait_for_service

pytestmark = pytest.mark.integration


def test_a_stop_ends_the_wait_for_what_was_starting(tmp_path_factory: pytest.TempPathFactory):
    """`make stop` in another shell: whoever waits for a service is told so, and does not wait on."""
    layout = Layout(home=Path(tmp_path_factory.mktemp("h")))
    layout.make()
    supervisor = Supervisor(layout)
    service = Service(name="sleeper", command=("sleep", "100"), url="http://127.0.0.1:9")
    supervisor.boot([service], os.environ)
    supervisor.start(["sleeper"])
    stopping = threading.Timer(1.0, supervisor.shut_down)
    stopping.start()
    try:
        with pytest.raises(PlatformError, match="was stopped while it started"):
            wait_for_service(supervisor, layout, service)
    finally:
        stopping.join()


def test_a_start_on_a_taken_port_says_what_to_set_and_leaves_nothing_running(short_path: Path):
    """`make run` beside whoever has the port already: one message, before anything is fetched or started."""
    home, base = short_path / "h", ports.free_base(os.getpid())
    environment = {**os.environ, HOME_VARIABLE: str(home), ports.BASE_VARIABLE: str(base)}
    with socket.create_server(("127.0.0.1", base)):
        run = subprocess.run(
            [sys.executable, "-m", "operators.local.run"], env=environment, capture_output=True, text=True, timeout=120
        )
    told = " ".join((run.stdout + run.stderr).split())

    assert run.returncode == 2, told
    assert f"process {os.getpid()}" in told
    assert f"has port {base}, wanted for airflow" in told
    assert f"{ports.variable_of('airflow')}=PORT make run" in told
    assert f"{ports.BASE_VARIABLE}=PORT make run" in told
    assert "Traceback" not in told
    assert not Supervisor(Layout(home=home)).is_up()
    assert not (home / "downloads").exists()
