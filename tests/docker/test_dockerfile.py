"""The Dockerfile: sound, made of files that exist, and installing what the lock says and the code imports."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import json
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from operators.core.settings import StorageSettings
from operators.core.storage import initialise
from tests.docker.files import DOCKER, ROOT, inherited, pins, stages

BIN = Path(sys.executable).parent
IMAGES = ("airflow", "worker", "server", "store", "balancer")
LOCKS = ("airflow", "build", "server", "services", "worker")
NOT_LOCKED = "torch triton networkx cuda- nvidia-".split()
"""Beginnings of what only the worker's lock has: see the Makefile."""


def hadolint(text: str) -> subprocess.CompletedProcess[str]:
    """Return what hadolint says of a Dockerfile."""
    return subprocess.run([BIN / "hadolint", "-"], input=text, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing() -> None:
    """And finds something in a file that is bad."""
    done = hadolint((DOCKER / "Dockerfile").read_text())

    assert (done.returncode, done.stdout) == (0, "")
    assert "DL3006" in hadolint("FROM debian\nRUN apt-get install curl\n").stdout


def sources() -> list[str]:
    """Return every path that is copied from the repository."""
    copied = [rest.split() for items in stages().values() for keyword, rest in items if keyword == "COPY"]
    return [part for parts in copied if not any(part.startswith("--from") for part in parts)
            for part in parts[:-1] if not part.startswith("--")]  # fmt: skip


def test_what_is_copied_is_there_and_is_sent() -> None:
    """What the Dockerfile copies is not kept back by .dockerignore, and no secret is sent."""
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    assert len(sources()) >= 10
    for source in sources():
        assert (ROOT / source).exists(), source
        assert any(source == item or source.startswith(item + "/") for item in sent), f"{source} is not sent"
    assert not any(fnmatch.fnmatch("docker/platform/secrets/credentials.json", item + "*") for item in sent)


@pytest.mark.parametrize("image", IMAGES)
def test_no_image_runs_as_root_or_holds_a_secret(image: str) -> None:
    """The last user is a number; no argument or variable is named like a secret."""
    lines = inherited(image)

    assert [rest for keyword, rest in lines if keyword == "USER"][-1] == "10001"
    assert not any(
        word in rest.upper()
        for keyword, rest in lines
        if keyword in ("ENV", "ARG")
        for word in ("KEY", "SECRET", "TOKEN")
    )


@pytest.mark.parametrize("name", LOCKS)
def test_an_image_installs_what_the_lock_says(name: str) -> None:
    """The same versions by the same hashes as everywhere else, each with one; torch is CUDA's, and has hashes too."""
    everywhere, image = pins(ROOT / "requirements.lock"), pins(DOCKER / "images" / f"{name}.lock")
    own = {package for package in image if name == "worker" and package.startswith(tuple(NOT_LOCKED))}

    assert all(hashes for _, hashes in image.values())
    assert {package: pin for package, pin in image.items() if package not in own} == {
        package: everywhere.get(package) for package in image if package not in own
    }


@pytest.mark.parametrize("name", ["airflow", "build", "server", "services"])
def test_a_lock_has_all_that_its_list_asks_for(name: str) -> None:
    """`make lock` was run after the list was changed."""
    lines = (DOCKER / "images" / f"{name}.in").read_text().splitlines()

    assert {line for line in lines if line and not line.startswith("#")} <= set(
        pins(DOCKER / "images" / f"{name}.lock")
    )


def test_the_worker_has_the_torch_of_the_project() -> None:
    """The version that pyproject.toml names, as PyPI builds it: for CUDA."""
    lock = pins(DOCKER / "images" / "worker.lock")

    assert f'"torch=={lock["torch"][0]}"' in (ROOT / "pyproject.toml").read_text()
    assert any(name.startswith("nvidia-") for name in lock)


ALONE = """
import json, runpy, sys
class OnlyWhatIsLocked:
    absent = set(json.loads(sys.stdin.read()))
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, OnlyWhatIsLocked())
sys.path.insert(0, sys.argv[1])
exec(sys.argv[2])
"""
DO_SERVE = """
from operators.core.deployment.server.__main__ import main
from operators.core.models.classifier import load_classifier
from operators.core.models import tokenising
import onnxruntime, tokenizers
from operators.core.settings import StorageSettings
from operators.core.storage import open_store
from operators.core.storage.bucket import S3Endpoint
import operators.core.storage.s3
open_store(StorageSettings.from_json(open(sys.argv[3]).read())).record
"""
DO_AIRFLOW = """
import airflow.providers.celery.executors.celery_executor
import airflow.providers.cncf.kubernetes.executors.kubernetes_executor
import asyncpg, psycopg2
for name in sys.argv[4:]: runpy.run_path(name)
from operators.cli import main
import operators.core.recovery.covering, operators.core.storage.s3
store = ["--storage-file", sys.argv[3]]
main(["init", *store]); main(["metrics", *store, "--backup-file", sys.argv[3]])
"""
DO_PAGES = """
import datetime, os
from nightshift_ui.plugin import NightshiftPlugin
import operators.core.overview.watcher
from operators.core.overview import lineage, looking
from operators.core.overview.runs import Pipeline
from operators.overview import Overview, from_connections
os.environ["AIRFLOW_CONN_NIGHTSHIFT_RECOVERY"] = json.dumps({"extra": {"public_keys": os.environ["AIRFLOW_HOME"]}})
storage = {"extra": {"storage": json.loads(open(sys.argv[3]).read())}}
for name in ("STORE", "BACKUP"): os.environ[f"AIRFLOW_CONN_NIGHTSHIFT_{name}"] = json.dumps(storage)
home = os.environ["AIRFLOW_HOME"]
os.environ["AIRFLOW_CONN_NIGHTSHIFT_LOCAL"] = json.dumps({"extra": {"availability": f"{home}/none"}})
pipeline = Pipeline(dag_id="retrain_tiny", title="tiny", recipe="tiny")
page = Overview(from_connections(), wait_seconds=60).page([pipeline], datetime.datetime.now(datetime.UTC))
gaps = [gap for gap in page.gaps if "price list" not in gap]
if gaps: sys.exit("; ".join(gaps))
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("lock", "work"),
    [("server", DO_SERVE), ("airflow", DO_AIRFLOW), ("airflow", DO_PAGES)],
    ids=["server", "airflow", "pages"],
)
def test_an_image_has_all_that_its_processes_import(
    lock: str, work: str, storage_settings: StorageSettings, tmp_path: Path
) -> None:
    """A server, Airflow's services, the exporter and the pages do their work while nothing else can be imported."""
    initialise(storage_settings, rounds=0)
    (tmp_path / "store.json").write_text(storage_settings.to_json())
    installed = {canonicalize_name(name) for name in pins(DOCKER / "images" / f"{lock}.lock")} | {"nightshift"}
    owners = importlib.metadata.packages_distributions()
    absent = [module for module, names in owners.items() if not {canonicalize_name(name) for name in names} & installed]
    files = [str(path) for path in sorted((ROOT / "dags").glob("*.py"))]
    environment = {"AIRFLOW_HOME": str(tmp_path / "a"), "PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{ROOT}/plugins"}
    arguments = [str(ROOT / "dags"), work, str(tmp_path / "store.json"), *files]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", ALONE, *arguments], input=json.dumps(absent),
                          env=environment, capture_output=True, text=True, check=False)  # fmt: skip

    assert {"torch", "great_expectations", "pytest"} <= set(absent)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.integration
def test_the_wheel_that_images_install_is_whole(tmp_path: Path) -> None:
    """Built by the Dockerfile's own command from nothing but what it copies: every module, and the command."""
    build = next(rest for keyword, rest in stages()["wheel"] if keyword == "RUN")
    copied = [rest.split()[:-1] for keyword, rest in stages()["wheel"] if keyword == "COPY"]
    for source in (ROOT / part for parts in copied for part in parts):
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        (shutil.copytree if source.is_dir() else shutil.copy)(  # type: ignore[operator]
            source, tmp_path / source.name, **({"ignore": ignore} if source.is_dir() else {})
        )
    command = [str(tmp_path / "wheels") if word == "/wheels" else word for word in shlex.split(build)]
    done = subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(next((tmp_path / "wheels").glob("nightshift-*.whl"))) as wheel:
        names = set(wheel.namelist())
        entry = next(wheel.read(name).decode() for name in names if name.endswith("entry_points.txt"))

    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "operators").rglob("*.py")}
    assert wanted <= names
    assert "nightshift = operators.cli:main" in entry
