"""What a platform's processes leave outside its folder, and in it, once it has ended: nothing."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from operators.local import ports, seaweedfs, services
from operators.local.credentials import load_credentials
from operators.local.layout import LONGEST_HOME, Layout
from operators.local.services import Service
from operators.local.supervisor import Supervisor
from operators.local.waiting import wait_for_service

pytestmark = pytest.mark.integration

LITTERER = "import os, tempfile, time; tempfile.mkdtemp(prefix='torchelastic_'); open('made', 'w'); time.sleep(100)"


def test_stores_and_services_leave_nothing_behind(short_path: Path, tmp_path: Path) -> None:
    """Four object stores are up and killed, and a service has a temporary folder: both are gone, nothing else came."""
    layout = Layout(home=short_path / "h")
    layout.make()
    base = ports.free_base(os.getpid() + 29)
    placed = ports.wanted_ports({ports.BASE_VARIABLE: str(base)})
    ports.save(layout, placed)
    seaweedfs.configure(layout, load_credentials(layout))
    stores = services.stores(layout, placed)
    litterer = Service(name="litterer", command=(sys.executable, "-c", LITTERER))
    sockets = {str(seaweedfs.grpc_socket(part, placed[f"{one.name}-{part}-grpc"]))
               for one in stores for part in seaweedfs.PARTS}  # fmt: skip
    supervisor = Supervisor(layout)
    supervisor.boot([*stores, litterer], {**os.environ, "TMPDIR": str(tmp_path)})
    try:
        supervisor.start([one.name for one in (*stores, litterer)])
        for one in (*stores, litterer):
            wait_for_service(supervisor, layout, one)
        while not (layout.home / "made").exists():
            time.sleep(0.05)
        while_up = {path for path in sockets if os.path.exists(path)}, os.listdir(layout.temporary)
    finally:
        supervisor.shut_down()
    logs = [name for name in os.listdir("/tmp") if name.startswith("weed.") and _is_of(name, layout)]

    assert while_up[0] == sockets and len(while_up[1]) == 1
    assert not any(os.path.exists(path) for path in sockets)
    assert not layout.temporary.exists()
    assert (list(tmp_path.iterdir()), logs) == ([], [])


def _is_of(name: str, layout: Layout) -> bool:
    """Say whether one of SeaweedFS' own log files is of this platform's stores."""
    try:
        return str(layout.home) in Path("/tmp", name).read_text(errors="replace")
    except OSError:  # somebody else's, and gone
        return False


def test_the_longest_home_has_room_for_every_unix_socket() -> None:
    """Python's multiprocessing listens in a folder of its own below TMPDIR: 107 bytes are all that the kernel takes."""
    layout = Layout(home=Path("/" + "h" * (LONGEST_HOME - 1)))
    listener = layout.temporary / "pymp-12345678" / "listener-12345678"

    assert len(str(listener)) <= 107
