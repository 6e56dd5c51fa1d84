"""Ceph's object gateway for tests: a whole small cluster on free loopback ports, all of it below one folder."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from operators.core.settings import EndpointSettings
from operators.core.storage.bucket import S3Endpoint
from operators.core.storage.endpoint import EndpointAway
from operators.local.ports import is_free
from tests.seaweed import ACCESS_KEY, SECRET_KEY

PROGRAMS = ("ceph", "ceph-mgr", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
PACKAGES = "ceph-mon ceph-mgr ceph-osd radosgw ceph-common"
"""Debian's packages that hold them."""
_PORTS = 16
"""The gateway's, the monitor's, and those that manager and OSD choose from."""
_STEP_SECONDS = 120
_TAIL_LINES = 15
# One OSD holds the one copy of everything: our store is what replicates. `auth_*_required = none` would hang the
# gateway. What is empty or small here would be written outside the folder, shown in long, or stop a full machine. A
# monitor that proposes at once, not each second, halves the start.
_CONFIGURATION = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon_port}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
ms_bind_port_min = {first_port}
ms_bind_port_max = {last_port}
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = {folder}/keyring
mon_data = {folder}/mon
mgr_data = {folder}/mgr
osd_data = {folder}/osd
rgw_data = {folder}/rgw
run_dir = {folder}
crash_dir = {folder}
log_file = {folder}/$name.log
log_max_recent = 20
mon_cluster_log_file = {folder}/cluster.log
admin_socket =
mgr_initial_modules = iostat
mon_allow_pool_size_one = true
mon_data_avail_warn = 1
mon_data_avail_crit = 1
mon_max_pg_per_osd = 1000
paxos_propose_interval = 0.05
osd_crush_chooseleaf_type = 0
osd_objectstore = bluestore
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
bluestore_block_size = 21474836480
rgw_rados_pool_pg_num_min = 8
rgw_frontends = beast endpoint=127.0.0.1:{rgw_port}
"""
_ENTITIES = ("mon.", "mgr.a", "osd.0", "client.admin", "client.rgw")


class CephError(Exception):
    """A step of the start failed."""


def missing_programs() -> list[str]:
    """Return which of the programs are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


class Ceph:
    """Monitor, manager, one OSD on a sparse file, and the gateway: started once, then stopped with all it wrote."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ns-ceph-"))
        self._port = _free_block(_PORTS)
        self._buckets = 0
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """Address of its S3 interface."""
        return f"http://127.0.0.1:{self._port}"

    def settings(self, name: str) -> EndpointSettings:
        """Return the settings of a new bucket, which is yet to be made."""
        self._buckets += 1
        bucket = f"nightshift-{name.replace('_', '-')}-{self._buckets}"
        return EndpointSettings(
            name=name, url=f"s3://{bucket}", endpoint_url=self.url, access_key=ACCESS_KEY, secret_key=SECRET_KEY
        )

    def start(self) -> None:
        """Return once the gateway takes writes.

        Raises:
            CephError: A step failed, or a daemon ended; the message has what they wrote last.
        """
        fsid, osd, monmap = str(uuid.uuid4()), str(uuid.uuid4()), str(self.folder / "monmap")
        self._write_files(fsid)
        self._ask("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{self._port + 1}]", monmap)
        self._ask("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._run("ceph-mon", "-i", "a")
        self._ask("ceph", "osd", "new", osd)
        self._ask("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd)
        self._run("ceph-osd", "-i", "0")
        self._run("ceph-mgr", "-i", "a")
        keys = ("--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY)
        self._ask("radosgw-admin", "user", "create", "--uid", "nightshift", "--display-name", "Nightshift", *keys)
        self._run("radosgw", "-n", "client.rgw")
        self._wait()

    def stop(self) -> None:
        """End all daemons at once, gateway first, and take their folder away."""
        for daemon in reversed(self._daemons.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()
        self._daemons.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_files(self, fsid: str) -> None:
        for name in ("mon", "mgr", "osd", "rgw"):
            (self.folder / name).mkdir()
        self._configuration.write_text(
            _CONFIGURATION.format(
                fsid=fsid,
                folder=self.folder,
                rgw_port=self._port,
                mon_port=self._port + 1,
                first_port=self._port + 2,
                last_port=self._port + _PORTS - 1,
            )
        )
        may_all = "".join(f'\tcaps {what} = "allow *"\n' for what in ("mon", "mgr", "osd"))
        (self.folder / "keyring").write_text("".join(f"[{name}]\n\tkey = {_key()}\n{may_all}" for name in _ENTITIES))

    @property
    def _configuration(self) -> Path:
        return self.folder / "ceph.conf"

    def _begin(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a program with our configuration and nobody else's; what it says goes to a file of its name."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CEPH_")}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # the manager's modules lie where only packages write
        command = [program, "-c", str(self._configuration), *arguments]
        with (self.folder / f"{program}.out").open("wb") as out:
            return subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)

    def _run(self, program: str, *arguments: str) -> None:
        """Start a daemon, in the foreground so that it is ours to end."""
        self._daemons[program] = self._begin(program, *arguments, "-f")

    def _ask(self, program: str, *arguments: str) -> None:
        """Return once a command has succeeded; it waits for daemons, so that a dead one is looked for meanwhile."""
        process = self._begin(program, *arguments)
        deadline = time.monotonic() + _STEP_SECONDS
        try:
            while process.poll() is None:
                self._check(program, deadline)
                time.sleep(0.05)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode:
            raise CephError(f"{program} ended with status {process.returncode}:\n{self._tail(f'{program}.out')}")

    def _wait(self) -> None:
        """Return once a bucket is made and holds what is put there: the first of them makes the pools."""
        deadline = time.monotonic() + _STEP_SECONDS
        endpoint = S3Endpoint(self.settings("ready"))
        while True:
            try:
                endpoint.create_bucket()
                endpoint.put("ready", b"ready")
                return
            except EndpointAway as error:
                self._check(f"radosgw ({error})", deadline)
                time.sleep(0.2)

    def _check(self, waiting_for: str, deadline: float) -> None:
        """Return if all daemons run and there is time left.

        Raises:
            CephError: Else, with the end of what the dead ones, or all of them, wrote.
        """
        dead = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
        if not dead and time.monotonic() < deadline:
            return
        reason = f"{', '.join(dead)} ended" if dead else f"not done within {_STEP_SECONDS} s"
        files = sorted(self.folder.glob("*.log")) if not dead else []
        tails = [self._tail(f"{name}.out") for name in dead] + [self._tail(path.name) for path in files]
        raise CephError("\n".join([f"waiting for {waiting_for}: {reason}", *tails]))

    def _tail(self, name: str) -> str:
        lines = (self.folder / name).read_text(errors="replace").splitlines()
        return "\n".join([f"--- the end of {name}:", *lines[-_TAIL_LINES:]])


def _key() -> str:
    """Return a new cephx key: of type 1, when it was made, its length, and as many random bytes."""
    return base64.b64encode(struct.pack("<HIIH", 1, int(time.time()), 0, 16) + os.urandom(16)).decode()


def _free_block(count: int) -> int:
    """Return the first of so many free ports in a row, away from other servers of tests and of the kernel's own."""
    bases = range(11000, 17000, count)
    turned = [bases[(os.getpid() + number) % len(bases)] for number in range(len(bases))]
    return next(base for base in turned if all(is_free(base + offset) for offset in range(count)))
