"""What the images would run, run: their own commands, with their own settings, as processes on loopback."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from operators.local import containers
from operators.local.credentials import load_credentials
from operators.local.layout import Layout
from operators.local.ports import free_base
from operators.local.seaweedfs import grpc_socket
from tests.docker.files import DOCKER, inherited
from tests.local.certificates import authority, issue

BIN = Path(sys.executable).parent
WITH_SECRETS = DOCKER / "images" / "with-secrets.sh"
ANSWERS = DOCKER / "images" / "answers.py"

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that containers mount their files from, made by the command itself."""
    home = tmp_path_factory.mktemp("c")
    assert containers.main([str(home)]) == 0
    return home / "secrets" / "mounted"


def command_of(image: str) -> list[str]:
    """Return the command that an image runs by default."""
    return list(json.loads([rest for keyword, rest in inherited(image) if keyword == "CMD"][-1]))


def check_of(image: str) -> list[str]:
    """Return the words of an image's health check."""
    rest = [rest for keyword, rest in inherited(image) if keyword == "HEALTHCHECK"][-1]
    return list(json.loads(rest[rest.index("CMD ") + 4 :]))


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run a command for the length of a block, and end all that it started."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def eventually(question: Callable[[], bool], log: Path, seconds: float = 90) -> None:
    """Return once the answer is yes."""
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.3)


def is_well(image: str, replaced: dict[str, str]) -> bool:
    """Run an image's health check against the ports of a test."""
    words = check_of(image)
    address = words[2]
    for old, new in replaced.items():
        address = address.replace(old, new)
    assert words[:2] == ["python", "/usr/local/lib/answers.py"]
    return subprocess.run([sys.executable, ANSWERS, address], capture_output=True, check=False).returncode == 0


def test_the_files_are_made_once_and_closed_to_others(mounted: Path) -> None:
    """A second run changes nothing; the folder is its owner's, the files are anybody's in a container."""
    before = {path.name: path.read_text() for path in mounted.iterdir()}
    assert containers.main([str(mounted.parents[1])]) == 0

    assert {path.name: path.read_text() for path in mounted.iterdir()} == before
    assert mounted.parent.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in mounted.iterdir()} == {0o444}


def test_lost_passwords_are_not_made_anew(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged file is named and stays: the database knows its password."""
    home = tmp_path_factory.mktemp("p")
    assert containers.main([str(home)]) == 0
    path = home / "secrets" / "passwords.json"
    path.chmod(0o600)
    path.write_text("{}")

    assert containers.main([str(home)]) == 2
    assert "passwords.json" in capsys.readouterr().err
    assert path.read_text() == "{}"


def test_a_command_has_the_variables_of_every_mounted_file(mounted: Path, tmp_path: Path) -> None:
    """As Python would write them: quotes, braces and all."""
    for name in ("broker.env", "connections.env"):
        (tmp_path / name).symlink_to(mounted / name)
    shown = "import json, os; print(json.dumps(dict(os.environ)))"
    done = subprocess.run(["sh", WITH_SECRETS, sys.executable, "-c", shown], check=True, capture_output=True, text=True,
                          env={"SECRETS_FOLDER": str(tmp_path), "PATH": os.environ["PATH"]})  # fmt: skip
    seen = json.loads(done.stdout)
    credentials = load_credentials(Layout(home=mounted.parents[1]))

    assert json.loads(seen["AIRFLOW_CONN_NIGHTSHIFT_SIGNING"])["password"] == credentials.signing_key
    assert seen["AIRFLOW__CELERY__BROKER_URL"].startswith("redis://:")
    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in seen


def test_a_command_s_end_is_the_container_s(tmp_path: Path) -> None:
    """Its status goes on, and so do signals: it is that process."""
    done = subprocess.run(
        ["sh", WITH_SECRETS, "sh", "-c", "exit 7"], env={"SECRETS_FOLDER": str(tmp_path)}, check=False
    )
    assert done.returncode == 7


def test_the_server_s_command_serves(mounted: Path, tmp_path: Path) -> None:
    """With the secrets that it is given it is live, and tells Prometheus; without them it says what is missing."""
    port = free_base(os.getpid())
    (tmp_path / "serving.env").symlink_to(mounted / "serving.env")
    replaced = {
        "8000": str(port),
        "0.0.0.0": "127.0.0.1",
        "/releases": str(tmp_path / "releases"),
        "python": sys.executable,
    }
    command = ["sh", str(WITH_SECRETS), *(replaced.get(word, word) for word in command_of("server"))]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(DOCKER.parent), "HOME": str(tmp_path)}

    bare = subprocess.run(command, env={**environment, "SECRETS_FOLDER": "/nowhere"}, capture_output=True, check=False)
    assert bare.returncode == 2 and b"NIGHTSHIFT_" in bare.stderr
    log = tmp_path / "log"
    with running(command, {**environment, "SECRETS_FOLDER": str(tmp_path)}, log):
        eventually(lambda: is_well("server", {"8000": str(port)}), log)
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert "nightshift_share" in text


def test_the_store_s_command_keeps_objects_and_counts_requests(mounted: Path, tmp_path: Path) -> None:
    """SeaweedFS takes the keys that it is given, says that it is well, and has the series of the dashboard."""
    base = free_base(os.getpid() + 7)
    ports = {"-s3.port": base, "-metricsPort": base + 1, "-master.port": base + 2, "-volume.port": base + 3,
             "-filer.port": base + 4, "-s3.port.grpc": base + 5, "-master.port.grpc": base + 6,
             "-volume.port.grpc": base + 7, "-filer.port.grpc": base + 8}  # fmt: skip
    identities = ("/run/secrets/identities.json", str(mounted / "store-1.json"))
    words = [word.replace("/data", str(tmp_path)).replace(*identities).replace("0.0.0.0", "127.0.0.1")
             for word in command_of("store") if word.split("=")[0] not in ports]  # fmt: skip
    sockets = [f"-s3.localSocket={tmp_path}/s.sock", f"-filer.localSocket={tmp_path}/f.sock"]
    command = [str(BIN / words[0]), *words[1:], *(f"{flag}={port}" for flag, port in ports.items()), *sockets]
    log = tmp_path / "log"
    with running(command, {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, log):
        eventually(lambda: is_well("store", {"8333": str(base)}), log)
        settings = json.loads((mounted / "store_settings.json").read_text())
        one = {**settings["endpoints"][0], "endpoint_url": f"http://127.0.0.1:{base}"}
        (tmp_path / "one.json").write_text(json.dumps({"endpoints": [one], "acknowledge": 1}))
        init = [sys.executable, "-m", "operators.cli", "init", "--storage-file", str(tmp_path / "one.json"), "--json"]

        def is_made() -> bool:
            return subprocess.run(init, capture_output=True, check=False).returncode == 0

        eventually(is_made, log)
        text = httpx.get(f"http://127.0.0.1:{base + 1}/metrics").text
    for part, port in ((flag.strip("-").split(".")[0], port) for flag, port in ports.items() if flag.endswith("grpc")):
        grpc_socket(part, port).unlink(missing_ok=True)
    assert re.search(r"^SeaweedFS_s3_request_total\{", text, flags=re.MULTILINE)


def test_the_balancer_s_command_balances_and_counts_requests(mounted: Path, tmp_path: Path) -> None:
    """Caddy has inference routes only, metrics with the dashboard's series on their own port, no admin interface."""
    base = free_base(os.getpid() + 13)
    text = (mounted / "caddy.json").read_text()
    for port, old in enumerate((":8080", ":9180", "server-1:8000", "server-2:8000"), start=base):
        assert f'"{old}"' in text
        text = text.replace(f'"{old}"', f'"127.0.0.1:{port}"')
    (tmp_path / "caddy.json").write_text(text)
    words = [word.replace("/run/secrets/caddy.json", str(tmp_path / "caddy.json")) for word in command_of("balancer")]
    log = tmp_path / "log"
    with running([str(BIN / words[0]), *words[1:]], {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, log):
        eventually(lambda: is_well("balancer", {"9180": str(base + 1)}), log)
        with httpx.Client(base_url=f"http://127.0.0.1:{base}", timeout=10) as client:
            statuses = [
                client.get(path).status_code for path in ("/v2/health/ready", "/metrics", "/v2/repository/index")
            ]
        seen = httpx.get(f"http://127.0.0.1:{base + 1}/metrics").text
        with socket.socket() as admin:
            is_admin_open = admin.connect_ex(("127.0.0.1", 2019)) == 0

    assert statuses == [503, 404, 404]
    assert "caddy_http_request_duration_seconds_count{" in seen
    assert "caddy_reverse_proxy_upstreams_healthy{" in seen
    assert not is_admin_open


def test_the_balancer_s_command_shows_a_certificate(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """Where `serving.json` names one: both files are mounted, callers come by TLS, and workers are told so."""
    home, base = tmp_path_factory.mktemp("t"), free_base(os.getpid() + 19)
    made, _ = authority(tmp_path, "own")
    shown = issue(made, tmp_path, "shown", "models.example.org")
    (home / "secrets").mkdir()
    wanted = {"balancer": {"tls_certificate": shown.chain, "tls_key": shown.key}}
    (home / "secrets" / "serving.json").write_text(json.dumps(wanted))
    assert containers.main([str(home)]) == 0
    mounted = home / "secrets" / "mounted"
    text = (mounted / "caddy.json").read_text().replace("/run/secrets", str(mounted))
    for port, old in enumerate((":8080", ":9180"), start=base):
        text = text.replace(f'"{old}"', f'"127.0.0.1:{port}"')
    (tmp_path / "caddy.json").write_text(text)
    words = [word.replace("/run/secrets/caddy.json", str(tmp_path / "caddy.json")) for word in command_of("balancer")]
    log = tmp_path / "log"
    with running([str(BIN / words[0]), *words[1:]], {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, log):
        eventually(lambda: is_well("balancer", {"9180": str(base + 1)}), log)
        status = httpx.get(f"https://127.0.0.1:{base}/v2/health/ready", verify=shown.pinned()).status_code

    assert status == 503
    assert "https://balancer:8080" in (mounted / "connections.env").read_text()


def test_what_containers_do_not_have_is_refused(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TLS of the servers: the message says which lines to take out, and nothing is written."""
    home = tmp_path_factory.mktemp("r")
    made, ca = authority(tmp_path, "own")
    servers = issue(made, tmp_path, "servers")
    (home / "secrets").mkdir()
    wanted = {"tls_certificate": servers.chain, "tls_key": servers.key, "tls_ca": ca}
    (home / "secrets" / "serving.json").write_text(json.dumps(wanted))

    assert containers.main([str(home)]) == 2
    assert "take tls_certificate, tls_key, tls_ca" in capsys.readouterr().err
    assert not (home / "secrets" / "mounted").exists()


def test_commands_are_lists_that_no_shell_reads() -> None:
    """Signals reach the program itself, and nothing in a variable is run."""
    for image in ("airflow", "worker", "server", "store", "balancer"):
        command = command_of(image)
        assert shlex.split(shlex.join(command)) == command
        assert command[0] not in ("sh", "bash")
