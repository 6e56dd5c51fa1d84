"""What starting a platform waits for, with a real supervisor."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from operators.local.layout import Layout, PlatformError
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
