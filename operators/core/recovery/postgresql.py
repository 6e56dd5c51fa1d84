"""PostgreSQL's own programs: a base backup of a running server, and a server that replays a log for us alone."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operators.core.errors import DataError, SourceUnavailable
from operators.core.scratch import scratch_folder

DEBIAN = Path("/usr/lib/postgresql")
"""Debian keeps the programs of each version in a folder of its own, and few of them on the path."""
ACCOUNT = "postgres"
"""Who runs a server where root restores: PostgreSQL refuses to be root."""
_PORT = "5432"
"""Of a Unix socket in a folder of its own: a name, no port of this machine."""
_TOO_EARLY = "recovery ended before configured recovery target was reached"


class ProgramsMissing(DataError):
    """PostgreSQL's programs are not installed here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresServer:
    """Where Airflow's database answers, and as whom it gives a base backup."""

    host: str
    port: int = 5432
    user: str
    """A role that may replicate: `CREATE ROLE nightshift REPLICATION LOGIN PASSWORD ...`."""
    password: str = field(repr=False)
    database: str
    """Airflow's, in that server."""
    sslmode: str = "prefer"

    def environment(self) -> dict[str, str]:
        """Return what PostgreSQL's programs read; no password is ever on a command line."""
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGSSLMODE": self.sslmode,
        }


def program(name: str, version: str | None = None) -> Path:
    """Return one of PostgreSQL's programs: of a major version, or the newest that is installed.

    Raises:
        ProgramsMissing: There is none, or none of that version.
    """
    on_path = [Path(found)] if (found := shutil.which(name)) else []
    known = {_major(path): path for path in (*on_path, *sorted(DEBIAN.glob(f"*/bin/{name}"), key=_number))}
    if version is None and known:
        return known[max(known, key=float)]
    if version not in known:
        what = f"{name} of version {version}" if version else name
        raise ProgramsMissing(f"{what} is not installed here: it comes with Debian's package postgresql")
    return known[version]


def take_base(server: PostgresServer, folder: Path) -> None:
    """Have a base backup of a running server in a folder: `base.tar`, with the log it needs, and `backup_manifest`.

    Raises:
        ProgramsMissing: There is no `pg_basebackup` here.
        SourceUnavailable: The server is away, or refuses.
    """
    command = [str(program("pg_basebackup")), "--pgdata", str(folder), "--format=tar", "--wal-method=fetch"]
    command += ["--checkpoint=fast", "--no-password", "--label=nightshift"]
    done = subprocess.run(
        command, env={**os.environ, **server.environment()}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SourceUnavailable(f"PostgreSQL at {server.host}:{server.port} gave no base backup: {done.stderr[-500:]}")


def check_base(data: Path, version: str) -> None:
    """Return if a data folder is what its base backup was, by PostgreSQL's own list of checksums.

    Raises:
        DataError: A file is missing, changed or too many.
    """
    command = [str(program("pg_verifybackup", version)), "--no-parse-wal", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DataError(f"the base backup is not whole: {done.stderr[-500:]}")


def replay(data: Path, log: Path, version: str, target: Mapping[str, str]) -> bool:
    """Have a data folder replay what a folder of the log holds, on a new timeline; say whether it met its target.

    Args:
        data: A base backup, unpacked and owned by whom `own` says.
        log: Files of the log, as PostgreSQL wrote them.
        version: Major version that wrote them.
        target: Where to stop, as PostgreSQL's `recovery_target_*`; empty for the end of the log.

    Raises:
        DataError: The log cannot be replayed; the end of what the server said is told.
    """
    (data / "recovery.signal").touch()
    own(data / "recovery.signal")
    fetch = f"cp {shlex.quote(str(log))}/%f %p"
    settings = {"restore_command": fetch, "recovery_target_timeline": "latest", "recovery_target_action": "promote"}
    try:
        with serving(data, version, {**settings, **target}):
            return True
    except ReplayEnded:
        return False


class ReplayEnded(DataError):
    """The log ended before the moment that was asked for."""


@contextmanager
def serving(data: Path, version: str, settings: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Give the folder of a socket at which a data folder is served for the length of a block, to this user alone.

    What the folder's own configuration says does not count: only these settings do, and none of them stays.

    Raises:
        DataError: The server does not come up.
    """
    with scratch_folder() as folder:
        (folder / "hba").write_text("local all all trust\n")
        for name in ("conf", "ident"):
            (folder / name).touch()
        for path in (folder, *folder.iterdir()):
            own(path)
        with _server(data, version, folder, settings or {}) as process:
            _wait(process, folder, version)
            yield folder


@contextmanager
def connected(socket: Path, database: str, user: str) -> Iterator[Any]:
    """Give a connection to such a server as the owner of everything, committed where the block does not raise."""
    import psycopg2

    def open_as(role: str) -> Any:
        return psycopg2.connect(host=str(socket), port=_PORT, dbname=database, user=role)

    first = open_as(user)
    try:
        with first.cursor() as cursor:
            cursor.execute("SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY oid LIMIT 1")
            (owner,) = cursor.fetchone()
    finally:
        first.close()
    connection = open_as(owner)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def own(path: Path) -> None:
    """Give a file or folder to the account that runs PostgreSQL here: us, unless we are root."""
    if os.getuid() == 0:
        shutil.chown(path, *_account())


def _account() -> tuple[str, str]:
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise ProgramsMissing(f"PostgreSQL refuses to be root, and there is no account {ACCOUNT} here") from None
    return ACCOUNT, ACCOUNT


@contextmanager
def _server(data: Path, version: str, folder: Path, settings: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    options = {
        "config_file": str(folder / "conf"),
        "hba_file": str(folder / "hba"),
        "ident_file": str(folder / "ident"),
        "unix_socket_directories": str(folder),
        "listen_addresses": "",
        "port": _PORT,
        "ssl": "off",
        "shared_preload_libraries": "",
        "logging_collector": "off",
        # Standby's limits are the former server's, which nobody knows here; without readers they do not matter.
        "hot_standby": "off",
        # What it writes is archived by the server that comes after it: kept until that has a command.
        "archive_mode": "on",
        "archive_command": "",
        "archive_library": "",
        **settings,
    }
    if int(version) < 15:
        del options["archive_library"]
    command = [str(program("postgres", version)), "-D", str(data)]
    command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    user = dict(zip(("user", "group"), _account(), strict=True)) if os.getuid() == 0 else {}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd="/",
            extra_groups=[] if user else None,
            **user,  # type: ignore[call-overload]
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _wait(process: subprocess.Popen[bytes], folder: Path, version: str) -> None:
    """Return once the server answers: when it has replayed what there is, and was promoted."""
    ask: Sequence[str] = [str(program("pg_isready", version)), "-h", str(folder), "-p", _PORT, "-q"]
    while subprocess.run(ask, check=False).returncode != 0:
        if process.poll() is not None:
            said = (folder / "log").read_text(errors="replace")
            if _TOO_EARLY in said:
                raise ReplayEnded("the log ends before that moment")
            raise DataError(f"PostgreSQL {version} does not come up on this data: {said[-1500:]}")
        time.sleep(0.1)


def _major(path: Path) -> str:
    told = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\) (\d+)", told)
    if found is None:
        raise ProgramsMissing(f"{path} does not say its version: {told.strip()}")
    return found[1]


def _number(path: Path) -> int:
    return int(path.parts[-3])
