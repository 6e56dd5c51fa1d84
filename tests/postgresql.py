"""A real PostgreSQL on loopback whose log is archived by the command that docs/recovery.md shows."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from operators.core.recovery.postgresql import DEBIAN, PostgresServer
from operators.core.settings import StorageSettings
from operators.local.services import BIN

PASSWORD = "for a test"


def programs() -> Path:
    """Return the folder of PostgreSQL's programs, or skip the test with what is missing."""
    found = sorted(DEBIAN.glob("*/bin"))
    if not found:
        pytest.skip("PostgreSQL's server is not installed: it is in Debian's package postgresql")
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL refuses to be root, and setpriv is not there to be somebody else")
    return found[-1]


def as_postgres() -> list[str]:
    """Return what runs a command as PostgreSQL's account where we are root: it may read what a checkout of root has."""
    if os.getuid() != 0:
        return []
    rights = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *rights, "--"]


class Postgres:
    """One server."""

    def __init__(self, folder: Path, port: int, settings: Mapping[str, str] | None = None) -> None:
        self.data, self.port, self._folder = folder / "data", port, folder
        self._programs, self._settings = programs(), dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(folder, "postgres", "postgres")

    @property
    def server(self) -> PostgresServer:
        """Return it as a backup sees it."""
        return PostgresServer(host="127.0.0.1", port=self.port, user="postgres", password=PASSWORD, database="postgres")

    def make(self) -> None:
        """Have an empty database."""
        password = self._folder / "password"
        password.write_text(PASSWORD)
        if os.getuid() == 0:
            shutil.chown(password, "postgres")
        make = [str(self._programs / "initdb"), "--pgdata", str(self.data), "--username=postgres"]
        make += ["--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"]
        subprocess.run([*as_postgres(), *make], check=True, capture_output=True, cwd="/")

    def start(self) -> None:
        """Return once it answers."""
        options = {"listen_addresses": "127.0.0.1", "port": str(self.port), **self._settings}
        serve = [str(self._programs / "postgres"), "-D", str(self.data), "-k", str(self._folder)]
        serve += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*as_postgres(), *serve], stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        ready = [str(self._programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, check=False).returncode != 0:
            assert self._process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as a machine that loses its power."""
        if self._process is None or self._process.poll() is not None:
            return
        postmaster = psutil.Process(self._process.pid)
        for process in (postmaster, *postmaster.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def lose(self) -> None:
        """End it and remove all it had."""
        self.kill()
        shutil.rmtree(self.data)

    def log(self) -> str:
        """Return the end of what it said."""
        return (self._folder / "log").read_text(errors="replace")[-3000:]

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Give a connection that commits each statement."""
        import psycopg2

        opened = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="postgres", password=PASSWORD, dbname="postgres"
        )
        opened.autocommit = True
        try:
            yield opened
        finally:
            opened.close()

    def ask(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what it answers to one statement."""
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute(text, values)
            return list(cursor.fetchall()) if cursor.description else []

    def archived(self) -> str:
        """Return the segment that was archived last, once all that was written so far is."""
        self.ask("SELECT pg_logical_emit_message(true, 'a test', 'something was written')")
        ((last,),) = self.ask("SELECT pg_walfile_name(pg_switch_wal())")
        deadline = time.monotonic() + 60
        while True:
            ((done,),) = self.ask("SELECT last_archived_wal FROM pg_stat_archiver")
            if done is not None and done[:24] >= last:
                return str(done)
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)


def archiving(backup: StorageSettings, folder: Path, seconds: int) -> dict[str, str]:
    """Return the settings that have the log archived on a backup store so many seconds after it was written."""
    path = folder / "backup.json"
    path.write_text(backup.to_json())
    command = f"{shlex.quote(str(BIN / 'nightshift'))} archive-wal --backup-file {shlex.quote(str(path))} %p"
    return {"archive_mode": "on", "archive_timeout": f"{seconds}s", "archive_command": command}
