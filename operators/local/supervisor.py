"""supervisord: keeps the services alive, each in a process group of its own, and ends them all."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from typing import Any

import psutil

from operators.local import seaweedfs
from operators.local.layout import HOME_VARIABLE, Layout, PlatformError, write_private
from operators.local.ports import load as load_ports
from operators.local.services import BIN, Service

MARK = "NIGHTSHIFT_PLATFORM"
"""In the environment of every process of a platform and of their children: its home. `stop` finds stragglers by it."""

UNREACHABLE = (OSError, HTTPException, xmlrpc.client.Error)


def configuration(layout: Layout, services: Iterable[Service]) -> str:
    """Return supervisord's configuration file."""
    head = f"""\
[supervisord]
pidfile={layout.run}/supervisord.pid
logfile={layout.log}/supervisord.log
logfile_maxbytes=5MB
logfile_backups=2
childlogdir={layout.log}
umask=077
[unix_http_server]
file={socket_path(layout)}
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
    return head + "".join(_program(layout, service) for service in services)


def _program(layout: Layout, service: Service) -> str:
    files = [str(service.environment_file)] if service.environment_file else []
    wrapper = [sys.executable, "-m", "operators.local.service", service.name, *files, "--", *service.command]
    # supervisord expands %(name)s in commands; a percent sign of ours is written twice.
    command = " ".join(f'"{part}"' for part in wrapper).replace("%", "%%")
    return f"""\
[program:{service.name}]
command={command}
directory={layout.home}
autostart=false
autorestart=true
startsecs=1
startretries=100
stopsignal={service.ends_by}
stopwaitsecs=15
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={layout.log}/{service.name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""


def socket_path(layout: Layout) -> str:
    """Return where supervisord listens; this user alone may speak to it."""
    return str(layout.run / "supervisor.sock")


class Supervisor:
    """A client of one platform's supervisord."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{socket_path(self.layout)}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def is_up(self) -> bool:
        """Say whether supervisord answers."""
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except UNREACHABLE:
            return False

    def boot(self, services: Iterable[Service], environment: Mapping[str, str]) -> None:
        """Start supervisord with these services, none of them started yet.

        Raises:
            PlatformError: It did not come up; its output is in the message.
        """
        path = self.layout.run / "supervisord.conf"
        write_private(path, configuration(self.layout, services))
        for stale in self.layout.run.glob("*.sock"):
            stale.unlink()
        remove_temporary(self.layout)
        self.layout.temporary.mkdir(mode=0o700)
        kept = {k: v for k, v in environment.items() if not k.startswith(("AIRFLOW", "PYTHONDONTWRITE", "PYTHONPATH"))}
        child = {
            **kept,
            HOME_VARIABLE: str(self.layout.home),
            MARK: str(self.layout.home),
            "TMPDIR": str(self.layout.temporary),
            "PATH": f"{BIN}{os.pathsep}{environment.get('PATH', os.defpath)}",
            # setproctitle would write its title over the environment block, and with it over the mark.
            "SPT_NOENV": "1",
            "XDG_DATA_HOME": str(self.layout.home / "caddy"),
            "XDG_CONFIG_HOME": str(self.layout.home / "caddy"),
        }
        done = subprocess.run(
            [str(BIN / "supervisord"), "-c", str(path)],
            env=child,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        deadline = time.monotonic() + 20
        while done.returncode == 0 and time.monotonic() < deadline:
            if self.is_up():
                return
            time.sleep(0.05)
        raise PlatformError(f"supervisord did not start: {(done.stdout + done.stderr).strip() or path}")

    def states(self) -> dict[str, str]:
        """Return each service's state in supervisord's words (`RUNNING`, `BACKOFF`, ...); empty when it is down."""
        try:
            return {item["name"]: item["statename"] for item in self._call("getAllProcessInfo")}
        except UNREACHABLE:
            return {}

    def process_id(self, name: str) -> int:
        """Return a service's process id, 0 while it has none."""
        return int(self._call("getProcessInfo", name)["pid"])

    def start(self, names: Iterable[str]) -> None:
        """Start these services where they do not run; returns at once."""
        for name in names:
            with contextlib.suppress(xmlrpc.client.Fault):  # it runs already
                self._call("startProcess", name, False)

    def stop(self, names: Iterable[str]) -> None:
        """Stop these services; returns when their processes are gone."""
        for name in names:
            with contextlib.suppress(xmlrpc.client.Fault):  # it does not run
                self._call("stopProcess", name, True)

    def shut_down(self) -> None:
        """End every service and supervisord, and whatever their processes left behind, in whichever group it is."""
        with contextlib.suppress(*UNREACHABLE):
            self._call("shutdown")
        deadline = time.monotonic() + 30
        while self.is_up() and time.monotonic() < deadline:
            time.sleep(0.1)
        end_marked(self.layout)
        remove_temporary(self.layout)


def remove_temporary(layout: Layout) -> None:
    """Have nothing left of what this platform's processes, none of which lives, kept for their own time only."""
    shutil.rmtree(layout.temporary, ignore_errors=True)
    seaweedfs.remove_sockets(load_ports(layout))


def marked(layout: Layout) -> list[psutil.Process]:
    """Return every living process of this platform, its services' children included."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(layout.home):
                found.append(process)
    return found


def end_marked(layout: Layout, grace_seconds: float = 10) -> None:
    """End this platform's processes: those that are still ending get a little time, the others SIGKILL."""
    _, alive = psutil.wait_procs(marked(layout), timeout=grace_seconds)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
